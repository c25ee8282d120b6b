package redfish

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

type object = map[string]any

// auth says whose name a request goes by.
type auth int

const (
	account auth = iota
	anonymous
)

// request is one request to the service.
type request struct {
	method string
	path   string
	body   any       // JSON; nil for none
	stream io.Reader // instead of body
	size   int64     // bytes of stream
	kind   string    // content type of stream
	match  string    // If-Match
	auth   auth
	token  string // instead of the service's own
}

// answer is an answer that came in whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do puts r on the wire once and reads the answer. With an answer, the error says what the status means; without one, answer is nil and the
// error is fault.Timeout when the request may have been carried out, fault.Unavailable when it was not.
func (s *service) do(ctx context.Context, r request) (*answer, error) {
	if err := localPath(r.path); err != nil {
		return nil, fault.New(fault.Unavailable, "BMC %s leads to a place outside its service: %v", s.set.base, err)
	}
	reading := r.method == http.MethodGet
	limit, transport := s.driver.options.SendTimeout, s.line.send
	if reading {
		limit, transport = s.driver.options.ReadTimeout, s.line.read
	}
	if r.stream != nil {
		limit = time.Hour
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := s.request(within, r)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, s.lost(ctx, r, limit, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, s.driver.options.MaxBody+1))
	switch {
	case err != nil && !reading && resp.StatusCode < 300:
		body = nil // the command was accepted; the rest of the answer is not needed to know it
	case err != nil:
		return nil, s.lost(ctx, r, limit, err)
	}
	if int64(len(body)) > s.driver.options.MaxBody {
		return nil, fault.New(fault.Unavailable, "BMC %s answered %s %s with more than %d bytes; the answer was not read", s.set.base, r.method,
			r.path, s.driver.options.MaxBody)
	}
	a := &answer{resp.StatusCode, resp.Header, body}
	return a, s.verdict(r, a)
}

func (s *service) request(ctx context.Context, r request) (*http.Request, error) {
	body := r.stream
	kind := r.kind
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("BMC %s: encode %s %s: %w", s.set.base, r.method, r.path, err)
		}
		body, kind = bytes.NewReader(b), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, r.method, s.set.base+r.path, body)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "BMC %s: %q is no path", s.set.base, clip(r.path, 80))
	}
	if r.stream != nil {
		req.ContentLength = r.size
	}
	req.GetBody = nil // a body that cannot be had again cannot be sent again
	req.Header.Set("Accept", "application/json")
	req.Header.Set("OData-Version", "4.0")
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	if r.match != "" {
		req.Header.Set("If-Match", r.match)
	}
	switch {
	case r.auth == anonymous:
	case r.token != "":
		req.Header.Set("X-Auth-Token", r.token)
	case s.set.username != "":
		req.SetBasicAuth(s.set.username, s.set.password)
	}
	return req, nil
}

// lost says what a request without an answer means.
func (s *service) lost(ctx context.Context, r request, limit time.Duration, err error) error {
	what := fmt.Sprintf("BMC %s", s.set.base)
	var certificate *tls.CertificateVerificationError
	var refused *fault.Error
	var name *net.DNSError
	switch {
	case errors.As(err, &certificate):
		return fault.New(fault.Invalid, "%s: its certificate cannot be trusted (%s); set redfish_verify_ca to the CA's file, or to false for a "+
			"network that is safe",
			what, certificate.Err.Error())
	case errors.As(err, &refused):
		return fault.New(refused.Kind, "%s: %s", what, refused.Text)
	case errors.As(err, &name):
		return fault.New(fault.Unavailable, "%s: its name cannot be resolved (%s); correct redfish_address", what, name.Err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fault.New(fault.Unavailable, "%s cannot be reached: %s; check redfish_address, the network, and that the controller has power", what,
			plain(err))
	}
	outcome := "nothing was changed"
	if r.method != http.MethodGet {
		outcome = "it is unknown whether it was carried out"
	}
	var timeout interface{ Timeout() bool }
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Timeout, "%s: %s %s was given up before an answer came; %s: %w", what, r.method, r.path, outcome, context.Cause(ctx))
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Timeout, "%s did not answer %s %s within %s; %s. If it stays silent, reset the controller", what, r.method, r.path,
			limit, outcome)
	case r.method == http.MethodGet:
		return fault.New(fault.Unavailable, "%s broke off its answer to %s %s: %s", what, r.method, r.path, plain(err))
	}
	return fault.New(fault.Timeout, "%s closed the connection on %s %s without an answer; %s", what, r.method, r.path, outcome)
}

// plain is a network error without addresses and internals.
func plain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			break
		}
		err = next
	}
	return clip(err.Error(), 120)
}

// read gets a resource with the account, following redirects within the service. It mends an ended session once.
func (s *service) read(ctx context.Context, path string, into any) (*answer, error) {
	a, err := s.get(ctx, path, into, account)
	return a, err
}

func (s *service) get(ctx context.Context, path string, into any, by auth) (*answer, error) {
	r := request{method: http.MethodGet, path: path, auth: by}
	for hop := 0; ; hop++ {
		if by == account {
			r.token, _ = s.credentials()
		}
		a, err := s.do(ctx, r)
		switch {
		case a != nil && a.status == http.StatusUnauthorized && r.token != "" && hop == 0:
			if err := s.relogin(ctx, r.token); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return a, err
		case a.status < 300:
			return a, s.decode(r, a, into)
		case hop == 3:
			return nil, fault.New(fault.Unavailable, "BMC %s redirects %s without end", s.set.base, path)
		}
		location := strings.TrimPrefix(a.header.Get("Location"), s.set.base)
		if localPath(location) != nil {
			return nil, fault.New(fault.Unavailable, "BMC %s redirects %s to %q, outside its service: not followed; check redfish_address",
				s.set.base, path,
				clip(a.header.Get("Location"), 100))
		}
		r.path = location
	}
}

// decode reads JSON leniently: a value of the wrong type counts as absent.
func (s *service) decode(r request, a *answer, into any) error {
	if into == nil {
		return nil
	}
	body := bytes.TrimSpace(a.body)
	if len(body) == 0 || body[0] != '{' {
		return fault.New(fault.Unavailable, "BMC %s answered %s %s with something that is no Redfish resource; is redfish_address that of the "+
			"controller?", s.set.base, r.method, r.path)
	}
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(body, into); err != nil && !errors.As(err, &wrong) {
		return fault.New(fault.Unavailable, "BMC %s answered %s %s with broken JSON: %s", s.set.base, r.method, r.path, clip(err.Error(), 120))
	}
	return nil
}

// send shows cmd to the guard and puts the change on the wire, once. When an absolute command met an ended session, which is proof that it
// was not carried out, it is sent once more under the same rules.
func (s *service) send(ctx context.Context, cmd driver.Command, r request) (*answer, error) {
	for try := 1; ; try++ {
		r.token, _ = s.credentials()
		if err := driver.Sending(ctx, cmd); err != nil {
			return nil, err
		}
		a, err := s.do(ctx, r)
		ended := a != nil && a.status == http.StatusUnauthorized && r.token != ""
		switch {
		case !ended:
			if a != nil && a.status >= 300 && a.status < 400 {
				return a, fault.New(fault.Unavailable, "BMC %s redirects %s: a command is not sent elsewhere", s.set.base, cmd.Text)
			}
			return a, err
		case cmd.Class != driver.Absolute || try == 2:
			return a, fault.New(fault.Unavailable, "BMC %s had ended the session, so %s was not carried out; ask again", s.set.base, cmd.Text)
		}
		if err := s.relogin(ctx, r.token); err != nil {
			return nil, err
		}
	}
}
