package host

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
	callTimeout = 30 * time.Second // for one call to the server
	maxReply    = 1 << 20          // bytes
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

// lasting tells whether the same request would be refused again. Others are the server's trouble, and pass.
func (r *refusal) lasting() bool {
	return r.status >= 400 && r.status < 500 && r.status != http.StatusTooManyRequests && r.status != http.StatusRequestTimeout
}

// caller speaks to the server for one host.
type caller struct {
	client *http.Client
	base   *url.URL // of the host's resources
}

func newCaller(server, host string, client *http.Client) (*caller, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q: want a URL such as https://riser.example:6385", server)
	}
	if host == "" || host == "." || host == ".." {
		return nil, fmt.Errorf("the host has no name, but %q", host)
	}
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &caller{client: client, base: u.JoinPath("agents/v1/hosts", url.PathEscape(host))}, nil
}

// post sends a message. The error is a *refusal if the server answered.
func (c *caller) post(ctx context.Context, what string, message any) (*wire.Reply, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(what).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, refusalOf(resp, answer)
	}
	var reply wire.Reply
	if err := json.Unmarshal(answer, &reply); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return &reply, nil
}

func refusalOf(resp *http.Response, answer []byte) *refusal {
	r := &refusal{status: resp.StatusCode, text: http.StatusText(resp.StatusCode)}
	var e wire.Error
	if json.Unmarshal(answer, &e) == nil && e.Error != "" {
		r.text = e.Error
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		r.after = min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	return r
}
