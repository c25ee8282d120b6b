package redfish

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/fault"
)

// service is the Redfish service of one controller as seen with one account. Connections with equal settings share it.
type service struct {
	driver *Driver
	set    settings
	line   line
	users  int         // guarded by the driver's lock, as idle is
	idle   *time.Timer // runs while nobody uses the service

	gate chan struct{} // holds one while somebody logs in or finds the system, so that it happens once

	mu      sync.Mutex
	basic   bool   // no session for this controller
	token   string // of the session
	session string // its path
	root    serviceRoot
	system  string // path of the ComputerSystem, once found
}

// serviceRoot is DSP0268 ServiceRoot.
type serviceRoot struct {
	Vendor  string
	Product string
	Systems reference
	Chassis reference
	Update  reference `json:"UpdateService"`
	Tasks   reference
	Links   struct{ Sessions reference }
}

func newService(d *Driver, set settings, l line) *service {
	return &service{driver: d, set: set, line: l, basic: set.auth == "basic", gate: make(chan struct{}, 1)}
}

// enter waits for the gate.
func (s *service) enter(ctx context.Context) error {
	select {
	case s.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Timeout, "BMC %s: given up while another connection was logging in: %w", s.set.base, context.Cause(ctx))
	}
}

// find reads the service root, logs in, and finds the system, unless that was done before.
func (s *service) find(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer func() { <-s.gate }()
	if s.systemPath() != "" {
		return nil
	}
	var root serviceRoot
	if _, err := s.get(ctx, "/redfish/v1/", &root, anonymous); err != nil {
		return err
	}
	if err := s.login(ctx, root); err != nil {
		return err
	}
	system := s.set.system
	if system == "" {
		list, err := s.members(ctx, root.Systems.or("/redfish/v1/Systems"))
		switch {
		case err != nil:
			return err
		case len(list) == 0:
			return fault.New(fault.Unavailable, "BMC %s lists no system; it may be starting, or set redfish_system_id", s.set.base)
		case len(list) > 1:
			return fault.New(fault.Invalid, "BMC %s has %d systems (%s): set redfish_system_id to one of them", s.set.base, len(list),
				clip(strings.Join(list, ", "), 300))
		}
		system = list[0]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root, s.system = root, system
	return nil
}

func (s *service) systemPath() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.system
}

// login opens a session, or settles on basic authentication. The gate is held. A refused password is not tried another way.
func (s *service) login(ctx context.Context, root serviceRoot) error {
	token, basic := s.credentials()
	if basic || token != "" || s.set.username == "" {
		return nil
	}
	path := root.Links.Sessions.or("/redfish/v1/SessionService/Sessions")
	a, err := s.do(ctx, request{method: http.MethodPost, path: path, body: object{"UserName": s.set.username, "Password": s.set.password}, auth: anonymous})
	session := ""
	switch {
	case err != nil && a != nil && s.set.auth == "auto" && !fault.Is(err, fault.Unauthorized):
		// No session service, or no session left: both are no reason to stay out.
	case err != nil:
		return err
	default:
		token = a.header.Get("X-Auth-Token")
		session = sessionPath(a.header.Get("Location"), s.set.base)
	}
	if token == "" && s.set.auth == "session" {
		return fault.New(fault.Unavailable, "BMC %s opened a session without a token; set redfish_auth_type to basic", s.set.base)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.session, s.basic = token, session, token == ""
	return nil
}

// sessionPath returns the path in a Location header, which some controllers send with scheme and host.
func sessionPath(location, base string) string {
	path := strings.TrimPrefix(location, base)
	if localPath(path) != nil {
		return ""
	}
	return path
}

// relogin replaces the token that was refused. With auto, a controller whose session ended early is spoken to without one from now on.
func (s *service) relogin(ctx context.Context, refused string) error {
	s.mu.Lock()
	if s.token == refused {
		s.token, s.session = "", ""
		s.basic = s.set.auth == "auto"
	}
	root := s.root
	s.mu.Unlock()
	if s.set.auth == "auto" {
		return nil
	}
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	default: // whoever finds the system holds it, and is us
	}
	return s.login(ctx, root)
}

// logout ends the session, as well as it can.
func (s *service) logout() {
	s.mu.Lock()
	token, session := s.token, s.session
	s.token, s.session = "", ""
	s.mu.Unlock()
	if token == "" || session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(s.driver.options.SendTimeout, time.Second))
	defer cancel()
	// A session that cannot be ended ends by its own time-out at the controller.
	_, _ = s.do(ctx, request{method: http.MethodDelete, path: session, token: token})
}

// credentials returns the session's token, or that basic authentication is in use.
func (s *service) credentials() (token string, basic bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, s.basic
}
