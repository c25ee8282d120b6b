package dpu

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/riser-project/riser/agent/wire"
)

const (
	callTimeout   = 30 * time.Second // for one call to the server, beside what it is asked to wait
	pollWait      = 20 * time.Second // how long the server may wait for an order
	maxAnswer     = 64 << 20         // bytes; 100,000 orders are 25 MB
	maxRetryAfter = 10 * time.Minute // more is not believed
)

// refusal is an answer that is not 2xx.
type refusal struct {
	status int
	text   string
	after  time.Duration // Retry-After, 0 if there is none
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answers %d %s: %s", r.status, http.StatusText(r.status), r.text)
}

// malformed tells whether the message itself is what the server does not take.
func (r *refusal) malformed() bool {
	switch r.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// caller speaks to the server.
type caller struct {
	client *http.Client
	base   *url.URL
}

func newCaller(server string, client *http.Client) (*caller, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q: want a URL such as https://riser.example:6385", server)
	}
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &caller{client: client, base: u.JoinPath("agents/v1/dpus")}, nil
}

// post sends a message about a card and reads the answer into reply. The error is a *refusal if the server answered.
func (c *caller) post(ctx context.Context, serial, what string, message, reply any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, c.base.JoinPath(url.PathEscape(serial), what), body, callTimeout, reply)
}

// orders asks for the orders of a card after a revision, which the server may wait for. The error is as for post.
func (c *caller) orders(ctx context.Context, serial string, after int64) (orders, error) {
	u := c.base.JoinPath(url.PathEscape(serial), "orders")
	u.RawQuery = url.Values{"after": {strconv.FormatInt(after, 10)}, "wait": {pollWait.String()}}.Encode()
	var out orders
	err := c.do(ctx, http.MethodGet, u, nil, callTimeout+pollWait, &out)
	return out, err
}

func (c *caller) do(ctx context.Context, method string, u *url.URL, body []byte, within time.Duration, out any) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusalOf(resp, answer)
	}
	if len(answer) > maxAnswer {
		return fmt.Errorf("the server's answer is longer than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}

func refusalOf(resp *http.Response, answer []byte) *refusal {
	r := &refusal{status: resp.StatusCode, text: "no reason is given"}
	var e wire.Error
	if json.Unmarshal(answer, &e) == nil && e.Error != "" {
		r.text = e.Error
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		r.after = min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	return r
}
