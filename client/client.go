// Package client is a Go client of riser's APIs: bare metal (/v1), instances (/compute/v2.1), networks (/networking/v2.0) and agents (/agents/v1).
// It speaks the newest microversion of each that the server has.
//
// Errors that the server answers are of type *Error, and carry the kind of fault a caller may act on:
//
//	c := &client.Client{URL: "http://127.0.0.1:6385"}
//	if _, err := c.Node(ctx, "host-1"); fault.Is(err, fault.NotFound) {
//		...
//	}
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/riser-project/riser/fault"
)

// DefaultURL is where riser serve listens unless it is told otherwise.
const DefaultURL = "http://127.0.0.1:6385"

// Client calls the APIs of one server. The zero value calls DefaultURL without credentials. It is safe for concurrent use.
type Client struct {
	URL  string       // of the server, without a path unless one stands in front of "/v1"; empty means DefaultURL
	HTTP *http.Client // nil means one that gives a request 90 s; redirects are never followed
	Auth Auth         // nil sends no credentials

	// Patience is how long a request is repeated while the server answers that another operation holds the node (409), or that it cannot
	// answer now (503 with Retry-After). 0 means that such an answer is an error at once.
	//
	// Besides that, a GET is repeated twice when no answer came or a gateway failed. No other request is: the server may have acted on it.
	Patience time.Duration
}

// Auth puts credentials into the headers of a request.
type Auth func(h http.Header)

// Token authenticates by a token of OpenStack Keystone.
func Token(token string) Auth {
	return func(h http.Header) { h.Set("X-Auth-Token", token) }
}

// Basic authenticates by a user's name and password (RFC 7617).
func Basic(user, password string) Auth {
	return func(h http.Header) {
		r := http.Request{Header: h}
		r.SetBasicAuth(user, password)
	}
}

const (
	requestTimeout = 90 * time.Second // longer than the server waits for a machine
	maxAnswer      = 256 << 20        // bytes
)

// retryDelays are the pauses before the second and the third attempt of a GET.
var retryDelays = [...]time.Duration{100 * time.Millisecond, 400 * time.Millisecond}

// patientDelay is the pause before a request is repeated out of Patience, unless the server names another.
const patientDelay = time.Second

// Do sends in as JSON to path, which starts with a slash and may have a query, and decodes the JSON answer into out. A nil in sends no body, a
// nil out drops the answer. Numbers in objects of free form become json.Number.
//
// The error is an *Error when the server refused, and of kind fault.Unavailable when it did not answer. It is ctx's own when ctx ended.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("write the body of %s %s: %w", method, path, err)
		}
	}
	start := time.Now()
	for attempt := 0; ; attempt++ {
		answer, err := c.once(ctx, method, path, body)
		if err == nil {
			return decode(method, path, answer, out)
		}
		delay, again := c.again(method, attempt, time.Since(start), err)
		if !again || pause(ctx, delay) != nil {
			return err
		}
	}
}

// again says whether a request that failed is sent once more, and after which pause.
func (c *Client) again(method string, attempt int, spent time.Duration, err error) (time.Duration, bool) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return 0, false
	}
	var refused *Error
	answered := errors.As(err, &refused)
	if answered && (fault.Is(err, fault.Locked) || refused.Status == http.StatusServiceUnavailable && refused.RetryAfter > 0) {
		delay := patientDelay
		if refused.RetryAfter > 0 {
			delay = refused.RetryAfter
		}
		if spent+delay <= c.Patience {
			return delay, true
		}
	}
	transient := !answered && fault.Is(err, fault.Unavailable) || answered && refused.gateway()
	if method == http.MethodGet && transient && attempt < len(retryDelays) {
		return retryDelays[attempt], true
	}
	return 0, false
}

// pause waits for d, or returns ctx's error when that ends earlier.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (c *Client) base() string {
	if c.URL == "" {
		return DefaultURL
	}
	return strings.TrimRight(c.URL, "/")
}

// http returns the HTTP client, which hands redirects to us: credentials go to the server that they were meant for.
func (c *Client) http() *http.Client {
	h := http.Client{Timeout: requestTimeout}
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}

// once sends one request and returns the body of an answer of 2xx.
func (c *Client) once(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base()+path, r)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s is not the URL of a server: %w", c.base(), plainURLError(err))
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if service := serviceOf(path); service != "" {
		req.Header.Set("OpenStack-API-Version", service+" latest")
	}
	if c.Auth != nil {
		c.Auth(req.Header)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.unreachable(ctx, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("%s %s: the answer is longer than %d MiB: ask for fewer objects or fields", method, path, maxAnswer>>20)
	case resp.StatusCode/100 != 2:
		return nil, newError(resp, answer)
	}
	return answer, nil
}

// serviceOf returns the name under which the API of a path negotiates its microversion, or "" when it has none.
func serviceOf(path string) string {
	switch {
	case strings.HasPrefix(path, "/v1/"):
		return "baremetal"
	case strings.HasPrefix(path, "/compute/"):
		return "compute"
	}
	return ""
}

// unreachable is the error for a request without an answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault.New(fault.Unavailable, "%s does not answer: %w", c.base(), plainURLError(err))
}

// plainURLError drops the method and URL that net/http puts before a cause.
func plainURLError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func decode(method, path string, answer []byte, out any) error {
	if out == nil {
		return nil
	}
	if len(bytes.TrimSpace(answer)) == 0 {
		return fmt.Errorf("%s %s: the answer is empty", method, path)
	}
	if err := unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not the JSON that was expected: %w", method, path, err)
	}
	return nil
}

// unmarshal decodes one JSON value and keeps the digits of numbers of free form.
func unmarshal(b []byte, out any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode(out)
}
