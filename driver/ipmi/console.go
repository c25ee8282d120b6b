package ipmi

import (
	"context"
	"io"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/transport"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

var _ driver.Console = (*Conn)(nil)

const (
	console       = 1                      // the instance of the payload
	consoleLook   = 100 * time.Millisecond // between two looks for output
	consoleInUse  = types.CompletionCode(0x80)
	consoleOff    = types.CompletionCode(0x81)
	consoleFull   = types.CompletionCode(0x82)
	consoleSecret = types.CompletionCode(0x84)
)

// Console activates Serial over LAN (section 15), encrypted and authenticated, on a session of its own.
func (c *Conn) Console(ctx context.Context, in io.Reader, out io.Writer) error {
	s := &session{driver: c.driver, set: c.session.set, gate: make(chan struct{}, 1)}
	if err := s.login(ctx); err != nil {
		return err
	}
	defer s.logout()
	cl := s.client
	if err := driver.Sending(ctx, driver.Command{Class: driver.Absolute, Text: "activate serial over LAN"}); err != nil {
		return err
	}
	err := s.retry(ctx, 1, "activate the console", func(ctx context.Context) error {
		_, err := cl.ActivatePayload(ctx, &transport.ActivatePayloadRequest{PayloadType: types.PayloadTypeSOL, PayloadInstance: console,
			EnableEncryption: true, EnableAuthentication: true})
		return err
	})
	if err != nil {
		return s.consoleRefused(err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.driver.options.Attempt)
		defer cancel()
		// A console that cannot be given back is given back by the end of the session.
		_, _ = cl.DeactivatePayload(end, &transport.DeactivatePayloadRequest{PayloadType: types.PayloadTypeSOL, PayloadInstance: console})
		s.used = time.Now()
	}()
	err = cl.SOLStream(ctx, in, out, &client.SOLStreamOptions{PollInterval: consoleLook})
	switch {
	case err == nil:
		return nil
	case ended(ctx):
		return fault.New(fault.Timeout, "BMC %s: the console was ended: %w", c.Address(), context.Cause(ctx))
	case silence(err):
		return fault.New(fault.Timeout, "BMC %s stopped to answer on its console", c.Address())
	}
	return fault.New(fault.Unavailable, "BMC %s ended the console: %s", c.Address(), plain(err))
}

func (s *session) consoleRefused(err error) error {
	response, ok := types.IsResponseError(err)
	if !ok {
		return s.meaning(err)
	}
	switch response.CompletionCode() {
	case consoleInUse, consoleFull:
		return fault.New(fault.Conflict, "BMC %s: somebody else has the console", s.set.address())
	case consoleOff:
		return fault.New(fault.Unsupported, "BMC %s has Serial over LAN switched off; enable it in the controller's settings", s.set.address())
	case consoleSecret:
		return fault.New(fault.Unsupported, "BMC %s does not encrypt its console", s.set.address())
	}
	return s.meaning(err)
}
