package ipmi

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// session is the one session that this process has with a controller. One request is on its way at a time.
type session struct {
	driver *Driver
	set    settings
	users  int         // guarded by the driver's lock, as idle is
	idle   *time.Timer // runs while nobody uses the session

	gate   chan struct{} // holds one while a request is on its way
	client *client.Client
	used   time.Time // last answer; controllers end sessions after 60 s of silence
}

// fresh is for how long after an answer a session is believed to live.
const fresh = 45 * time.Second

func (s *session) enter(ctx context.Context) error {
	select {
	case s.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Timeout, "BMC %s: given up while it was busy with another request: %w", s.set.address(), context.Cause(ctx))
	}
}

func (s *session) exit() { <-s.gate }

// login opens the session unless it lives. The gate is held.
func (s *session) login(ctx context.Context) error {
	if s.client != nil && time.Since(s.used) < fresh {
		return nil
	}
	s.discard()
	tries := []types.CipherSuiteID{s.set.suite}
	if s.set.suite == types.CipherSuiteID0 {
		tries = []types.CipherSuiteID{types.CipherSuiteID17, types.CipherSuiteID3}
		if s.driver.lacks17(s.set) {
			tries = tries[1:]
		}
	}
	for i, suite := range tries {
		lacks, err := s.open(ctx, suite)
		if err == nil {
			return nil
		}
		if !lacks || i == len(tries)-1 {
			return err
		}
		s.driver.note17(s.set)
	}
	return nil
}

func (d *Driver) lacks17(set settings) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.suites[set.address()]
}

func (d *Driver) note17(set settings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.suites[set.address()] = true
}

// open does the steps of logging in (IPMI 2.0, section 13.15) with one suite. lacks says that the controller does not have it.
func (s *session) open(ctx context.Context, suite types.CipherSuiteID) (lacks bool, err error) {
	host, err := s.resolve(ctx)
	if err != nil {
		return false, err
	}
	c, err := client.NewClient(host, s.set.port, s.set.username, s.set.password)
	if err != nil {
		return false, fault.New(fault.Invalid, "BMC %s: %s", s.set.address(), "ipmi_username is too long")
	}
	c.WithCipherSuiteID(suite).WithMaxPrivilegeLevel(s.set.privilege).WithTimeout(s.driver.options.Timeout).WithRetry(0)
	s.client = c
	steps := []func(context.Context) error{
		func(ctx context.Context) error { _, err := c.OpenSession(ctx); return err },
		func(ctx context.Context) error { _, err := c.RAKPMessage1(ctx); return err },
		func(ctx context.Context) error { _, err := c.RAKPMessage3(ctx); return err },
		func(ctx context.Context) error {
			_, err := c.SetSessionPrivilegeLevel(ctx, s.set.privilege)
			return err
		},
	}
	for i, step := range steps {
		// Only the first step may be repeated: a repeated later one confuses some controllers.
		n := 1
		if i == 0 {
			n = attempts
		}
		if err := s.retry(ctx, n, "log in", step); err != nil {
			s.discard()
			return s.lacks(err), s.refusal(err)
		}
	}
	s.used = time.Now()
	return false, nil
}

// resolve returns the controller's address as the library wants it, if it may be spoken to.
func (s *session) resolve(ctx context.Context) (string, error) {
	ip, err := netip.ParseAddr(s.set.host)
	if err != nil {
		list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.set.host)
		switch {
		case ctx.Err() != nil:
			return "", fault.New(fault.Timeout, "BMC %s: resolving its name was given up: %w", s.set.address(), context.Cause(ctx))
		case err != nil || len(list) == 0:
			return "", fault.New(fault.Unavailable, "BMC %s: its name cannot be resolved; correct ipmi_address", s.set.address())
		}
		ip = list[0]
	}
	ip = ip.Unmap()
	if err := s.driver.options.Allow(netip.AddrPortFrom(ip, uint16(s.set.port))); err != nil {
		return "", fault.New(fault.KindOf(err), "BMC %s: %w", s.set.address(), err)
	}
	if ip.Is6() {
		return "[" + ip.String() + "]", nil
	}
	return ip.String(), nil
}

// lacks reports whether an error of logging in means that the controller does not have the suite.
func (s *session) lacks(err error) bool {
	if errors.Is(err, types.ErrUnpackedDataTooShort) {
		return true // a refusal in short form (section 13.18): the library does not read its reason, and the suite is the most likely
	}
	var status *types.RmcpStatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.StatusCode() {
	case types.RmcpStatusCodeInvalidAuthAlg, types.RmcpStatusCodeInvalidIntegrityAlg, types.RmcpStatusCodeNoMatchingAuthPayload,
		types.RmcpStatusCodeNoMatchingIntegrityPayload, types.RmcpStatusCodeInvalidConfidentAlg, types.RmcpStatusCodeNoCipherSuiteMatch:
		return true
	}
	return false
}

// refusal says what an error of logging in means.
func (s *session) refusal(err error) error {
	at := s.set.address()
	var status *types.RmcpStatusError
	switch {
	case errors.Is(err, client.ErrRAKPAuthentication):
		return fault.New(fault.Unauthorized, "BMC %s refused the credentials; correct ipmi_username and ipmi_password (it is not tried again, so "+
			"the account is not locked)", at)
	case s.lacks(err):
		return fault.New(fault.Invalid, "BMC %s refused a session with this cipher suite; set ipmi_cipher_suite to one that it has (17, 12, 8 or "+
			"3), and see that it has a session left", at)
	case !errors.As(err, &status):
		return s.meaning(err)
	}
	switch status.StatusCode() {
	case types.RmcpStatusCodeNoResToCreateSess, types.RmcpStatusCodeNoResToCreateSessAtRole:
		return fault.New(fault.Unavailable, "BMC %s has no session left: those of a process that was killed end by themselves after about a minute; others must "+
			"be ended, or the controller be restarted", at)
	case types.RmcpStatusCodeUnauthorizedRoleOfPriLevel, types.RmcpStatusCodeInvalidRole:
		return fault.New(fault.Unauthorized, "BMC %s does not grant the user its privilege level; lower ipmi_priv_level", at)
	case types.RmcpStatusCodeUnauthorizedName, types.RmcpStatusCodeInvalidNameLength, types.RmcpStatusCodeInvalidIntegrityCheckValue, types.RmcpStatusCodeUnauthorizedGUID:
		return fault.New(fault.Unauthorized, "BMC %s refused the credentials; correct ipmi_username and ipmi_password (it is not tried again, so "+
			"the account is not locked)", at)
	}
	return fault.New(fault.Unavailable, "BMC %s refused a session: %s", at, status.StatusCode())
}

// retry calls do until it is answered, n times at most.
func (s *session) retry(ctx context.Context, n int, what string, do func(context.Context) error) error {
	limit := s.driver.options.Attempt
	for i := 1; ; i++ {
		within, cancel := context.WithTimeout(ctx, limit)
		err := do(within)
		cancel()
		switch {
		case err == nil || !silence(err):
			return err
		case ended(ctx):
			return fault.New(fault.Timeout, "BMC %s: %s was given up before an answer came: %w", s.set.address(), what, context.Cause(ctx))
		case i == n:
			return fault.New(fault.Timeout, "BMC %s did not answer within %s (%s); check ipmi_address, ipmi_port and that IPMI over LAN is "+
				"enabled; if it stays silent, "+
				"restart the controller", s.set.address(), time.Duration(n)*limit, what)
		}
	}
}

// ended reports whether the caller's time is up. The library notices a deadline by its own clock, a moment before the context does.
func ended(ctx context.Context) bool {
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// silence reports whether err means that no answer came.
func silence(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout() || isUnmatched(err)
}

// isUnmatched reports whether datagrams came, but none that answered: the library's error has no name.
func isUnmatched(err error) bool {
	var status *types.RmcpStatusError
	var response *types.ResponseError
	return !errors.As(err, &status) && !errors.As(err, &response) && !errors.Is(err, client.ErrRAKPAuthentication) && hasText(err, "no datagram matched")
}

// read asks for something that changes nothing. The gate is held by the caller.
func (s *session) read(ctx context.Context, what string, do func(context.Context, *client.Client) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.exit()
	if err := s.login(ctx); err != nil {
		return err
	}
	err := s.retry(ctx, attempts, what, func(ctx context.Context) error { return do(ctx, s.client) })
	if err == nil {
		s.used = time.Now()
		return nil
	}
	if fault.Is(err, fault.Timeout) {
		s.discard()
		return err
	}
	return s.meaning(err)
}

// send shows cmd to the guard and puts a raw command on the wire, once.
func (s *session) send(ctx context.Context, cmd driver.Command, netFn, command byte, data []byte) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.exit()
	if err := s.login(ctx); err != nil {
		return nil, err
	}
	if err := driver.Sending(ctx, cmd); err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, s.driver.options.Timeout)
	defer cancel()
	answer, err := s.client.RawCommand(within, types.NetFn(netFn), command, data, cmd.Text)
	switch {
	case err == nil:
		s.used = time.Now()
		return answer.Response, nil
	case ended(ctx):
		s.discard()
		return nil, fault.New(fault.Timeout, "BMC %s: %s was given up before an answer came; it is unknown whether it was carried out: %w",
			s.set.address(), cmd.Text, context.Cause(ctx))
	case silence(err):
		s.discard()
		return nil, fault.New(fault.Timeout, "BMC %s did not answer %s within %s; it is unknown whether it was carried out", s.set.address(),
			cmd.Text, s.driver.options.Timeout)
	}
	return nil, s.meaning(err)
}

// meaning turns a completion code (IPMI 2.0, table 5-2) or a network error into a fault.
func (s *session) meaning(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	at := s.set.address()
	response, ok := types.IsResponseError(err)
	if !ok {
		s.discard()
		return fault.New(fault.Unavailable, "BMC %s cannot be reached: %s; check ipmi_address, ipmi_port, the network, and that the controller "+
			"has power", at, plain(err))
	}
	kind := fault.Unavailable
	switch response.CompletionCode() {
	case types.CodeInvalidCommand, types.CodeInvalidCommandForLUN, types.CodeIllegalCommand, types.CodeSubFnDisabled, types.CodeParameterNotSupported:
		kind = fault.Unsupported
	case types.CodeRequestDataTruncated, types.CodeRequestDataLengthInvalid, types.CodeRequestDataLengthLimitExceeded, types.CodeParameterOutOfRange, types.CodeRequestDataFieldInvalid:
		kind = fault.Invalid
	case types.CodeRequestedDataNotPresent:
		kind = fault.NotFound
	case types.CodeNotSupported: // "in the present state"
		kind = fault.Conflict
	case types.CodeInsufficientPrivilege:
		kind = fault.Forbidden
	}
	return fault.New(kind, "BMC %s answered with completion code 0x%02x (%s)", at, uint8(response.CompletionCode()), types.StrCC(types.Command{},
		uint8(response.CompletionCode())))
}

// discard forgets a session that may be dead, and ends it in the background, as well as it can, within the time of one command.
func (s *session) discard() {
	if s.client == nil {
		return
	}
	c, alive := s.client, time.Since(s.used) < fresh
	s.client = nil
	limit := s.driver.options.Attempt
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if !alive {
			cancel() // only the socket is left to close
		}
		_ = c.Close(ctx)
	}()
}

// logout ends the session and waits until it is ended.
func (s *session) logout() {
	s.gate <- struct{}{}
	defer s.exit()
	if s.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(s.driver.options.Attempt, time.Second))
	defer cancel()
	// A session that cannot be ended ends by its own time-out at the controller.
	_ = s.client.Close(ctx)
	s.client = nil
}

// whole is read for something that takes many requests, which are not counted and have the time that ctx gives them, or ten commands' worth.
func (s *session) whole(ctx context.Context, what string, do func(context.Context, *client.Client) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.exit()
	if err := s.login(ctx); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, 10*s.driver.options.Timeout)
	defer cancel()
	err := do(within, s.client)
	switch {
	case err == nil:
		s.used = time.Now()
		return nil
	case ended(ctx):
		s.discard()
		return fault.New(fault.Timeout, "BMC %s: %s was given up before an answer came: %w", s.set.address(), what, context.Cause(ctx))
	case silence(err):
		s.discard()
		return fault.New(fault.Timeout, "BMC %s stopped to answer (%s)", s.set.address(), what)
	}
	return s.meaning(err)
}
