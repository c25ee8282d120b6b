package ssh

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

var _ driver.Console = (*Conn)(nil)

// Console opens a terminal. On a controller's console port (2200 on a BlueField) that is the card's serial console, elsewhere a shell.
func (c *Conn) Console(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := driver.Sending(ctx, driver.Command{Class: driver.Absolute, Text: "open a terminal"}); err != nil {
		return err
	}
	s, err := c.client.NewSession()
	if err != nil {
		return fault.New(fault.Unavailable, "%s ended the connection: %.120s", c.Address(), last(err))
	}
	defer func() { _ = s.Close() }()
	// An input of our own: with Session.Stdin the end of the session would wait for the next byte that somebody types.
	keys, err := s.StdinPipe()
	if err != nil {
		return fault.New(fault.Unavailable, "%s: %.120s", c.Address(), last(err))
	}
	s.Stdout, s.Stderr = out, out
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 1}); err != nil {
		return fault.New(fault.Unsupported, "%s offers no terminal", c.Address())
	}
	if err := s.Shell(); err != nil {
		return fault.New(fault.Unsupported, "%s offers no shell", c.Address())
	}
	typed := make(chan error, 1)
	go func() { // ends with in, which the caller ends
		_, err := io.Copy(keys, in)
		typed <- err
	}()
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	select {
	case err := <-typed:
		if err != nil {
			return fmt.Errorf("%s: input of the console: %w", c.Address(), err)
		}
		return nil
	case err := <-ended:
		if err != nil {
			return fault.New(fault.Unavailable, "%s ended the console: %.120s", c.Address(), last(err))
		}
		return nil
	case <-ctx.Done():
		return fault.New(fault.Timeout, "%s: the console was ended: %w", c.Address(), context.Cause(ctx))
	}
}
