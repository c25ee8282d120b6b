package ssh

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// Stream writes an image of size bytes to the card's boot device (/dev/rshim0/boot), which starts the card from it. It is relative. progress, if
// not nil, is told the bytes sent, now and then. The device ends with an error of its own when it has taken all; that counts as success.
func (c *Conn) Stream(ctx context.Context, image io.Reader, size int64, progress func(sent int64)) error {
	in := &counter{r: image, size: size, told: progress}
	cmd := driver.Command{Class: driver.Relative, Text: fmt.Sprintf("stream of %d bytes to /dev/%s/boot", size, c.set.rshim)}
	out, err := c.exec(ctx, cmd, "cat > /dev/"+c.set.rshim+"/boot", in)
	text := string(out)
	switch {
	case in.err != nil:
		return fault.New(fault.Unavailable, "%s: the image broke off after %d of %d bytes: %w", c.Address(), in.sent, size, in.err)
	case fault.Is(err, fault.Conflict) && in.sent == size && (strings.Contains(text, "Invalid argument") || strings.Contains(text, "truncate")):
		return nil
	case err != nil:
		return err
	case in.sent != size:
		return fault.New(fault.Conflict, "%s: the card took %d of %d bytes of the image", c.Address(), in.sent, size)
	}
	return nil
}

// counter counts what is read, and tells it once a second.
type counter struct {
	r    io.Reader
	size int64
	sent int64
	told func(int64)
	last time.Time
	err  error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sent += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	if err == io.EOF && c.sent < c.size {
		c.err = io.ErrUnexpectedEOF
	}
	if c.told != nil && (err != nil || time.Since(c.last) >= time.Second) {
		c.last = time.Now()
		c.told(c.sent)
	}
	return n, err
}

// maxLog bounds the lines of the card's log that are returned.
const maxLog = 100

// CardLog reads the card's own log over the rshim, newest line last, and whether the card says that it is ready.
func (c *Conn) CardLog(ctx context.Context) (lines []string, ready bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	misc := "/dev/" + c.set.rshim + "/misc"
	// The log is shown at this level alone; setting it changes nothing else.
	out, err := c.exec(ctx, driver.Command{Text: "card log"}, "echo 'DISPLAY_LEVEL 2' > "+misc+" && cat "+misc, nil)
	if err != nil {
		return nil, false, err
	}
	for line := range strings.Lines(c.clean(out)) {
		if line = strings.TrimSpace(line); strings.Contains(line, "INFO[") || strings.Contains(line, "ERR[") || strings.Contains(line, "WARN[") {
			lines = append(lines, line)
		}
		ready = ready || strings.Contains(line, "DPU is ready")
	}
	return lines[max(0, len(lines)-maxLog):], ready, nil
}
