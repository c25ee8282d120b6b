package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// MaxOutput is how much of a command's output is kept: its first bytes.
const MaxOutput = 64 << 10

// Run runs a command of the list and returns its output, errors and all, without control characters and with secrets masked. A name that is not on
// the list is fault.Invalid, a command that fails is fault.Conflict. It counts as relative: what a command does is not known here.
func (c *Conn) Run(ctx context.Context, name string) (string, error) {
	argv, ok := c.options.Commands[name]
	if !ok || len(argv) == 0 {
		return "", fault.New(fault.Invalid, "command %.60q is not one of %s", name, strings.Join(c.Commands(), ", "))
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	out, err := c.exec(ctx, driver.Command{Class: driver.Relative, Text: "ssh command " + name}, quote(argv), nil)
	return c.clean(out), err
}

// quote writes argv as a shell reads it, each word in quotes: the protocol has no other way to pass arguments (RFC 4254, section 6.5).
func quote(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

// exec runs a command line with a standard input. A command of class Read is not shown to the guard.
func (c *Conn) exec(ctx context.Context, cmd driver.Command, line string, in io.Reader) ([]byte, error) {
	if cmd.Class != driver.Read {
		if err := driver.Sending(ctx, cmd); err != nil {
			return nil, err
		}
	}
	s, err := c.client.NewSession()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s ended the connection: %.120s", c.Address(), last(err))
	}
	out := &bounded{}
	s.Stdout, s.Stderr, s.Stdin = out, out, in
	done := make(chan error, 1)
	go func() { done <- s.Run(line) }()
	select {
	case err = <-done:
		_ = s.Close() // it is closed already, unless Run failed early
	case <-ctx.Done():
		_ = c.client.Close() // a session alone may stay open as long as the command likes
		<-done               //nolint:errcheck // how it ended is not known, whatever it says
		return out.bytes(), fault.New(fault.Timeout, "%s: %s was given up; it is unknown whether it was carried out: %w", c.Address(), cmd.Text,
			context.Cause(ctx))
	}
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return out.bytes(), nil
	case errors.As(err, &exit):
		return out.bytes(), fault.New(fault.Conflict, "%s: %s ended with status %d: %s", c.Address(), cmd.Text, exit.ExitStatus(),
			first(c.clean(out.bytes()), 200))
	}
	return out.bytes(), fault.New(fault.Timeout, "%s ended the connection during %s; it is unknown whether it was carried out", c.Address(), cmd.Text)
}

func first(text string, n int) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if len(text) > n {
		return strings.ToValidUTF8(text[:n], "") + "..."
	}
	return text
}

// clean makes output fit to be shown.
func (c *Conn) clean(out []byte) string {
	text := strings.ToValidUTF8(string(out), "?")
	if c.set.password != "" {
		text = strings.ReplaceAll(text, c.set.password, "***")
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

// bounded keeps the first bytes written to it and counts the rest.
type bounded struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	over int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	keep := min(len(p), MaxOutput-b.buf.Len())
	b.buf.Write(p[:keep])
	b.over += len(p) - keep
	return len(p), nil
}

func (b *bounded) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := bytes.Clone(b.buf.Bytes())
	if b.over > 0 {
		out = fmt.Appendf(out, "\n[%d more bytes]", b.over)
	}
	return out
}
