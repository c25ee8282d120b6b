package bmc

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// obj is a JSON object.
type obj = map[string]any

// Controller is the Redfish service (DSP0266) in front of a machine.
type Controller struct {
	URL  string // "http://127.0.0.1:40001"
	Cert []byte // PEM of the certificate, with TLS

	machine  *Machine
	username string
	latency  time.Duration
	server   *http.Server
	listener net.Listener
	idle     chan struct{} // closed by close, and ends answers that would never end

	once       sync.Once
	mu         sync.Mutex
	password   string
	limit      int
	sessions   map[string]*session // by id
	serial     int
	tasks      []*task
	revision   int
	lies       map[string]*Lie
	refused    int // log-ins in a row
	locked     time.Time
	requests   []*Request
	began      time.Time // when the service last started
	conflicted bool      // the first reset was refused by a lie
}

type session struct {
	id, token string
	used      time.Time
}

// Request is a request as it arrived, secrets masked.
type Request struct {
	Time   time.Time
	Method string
	Path   string
	Body   string // JSON, at most 2 KiB
	Size   int64  // of the body as it came, in bytes
	Status int    // of the answer, 0 when none was given

	read bool // of IPMI: the command changes nothing
}

// memory is how many requests a controller remembers; readings beyond it are forgotten first.
const memory = 2000

func newController(m *Machine, o Options) (*Controller, error) {
	c := &Controller{
		machine: m, username: o.Username, latency: o.Latency, password: o.Password, limit: o.Sessions, sessions: map[string]*session{}, lies: map[string]*Lie{},
		idle: make(chan struct{}), revision: 1, began: time.Now(),
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.at(m))
	if err != nil {
		return nil, fmt.Errorf("listen for the controller of %s: %w", m.Name, err)
	}
	c.URL, c.listener = "http://"+ln.Addr().String(), ln
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	if o.TLS {
		cert, pem, err := selfSigned(o.Listen)
		if err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		c.URL, c.Cert = "https://"+ln.Addr().String(), pem
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	}
	go func() { _ = c.server.Serve(ln) }()
	return c, nil
}

func (c *Controller) close() error {
	c.once.Do(func() { close(c.idle) })
	err := c.server.Close()
	_ = c.listener.Close() // for a server that had not begun to serve; most often it is closed by now
	return err
}

// restarted is what a loss of power does to the service.
func (c *Controller) restarted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = map[string]*session{}
	c.tasks = nil
	c.began = time.Now()
}

func (c *Controller) lastReset() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.began
}

// Requests returns what the controller really received, oldest first.
func (c *Controller) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Request, len(c.requests))
	for i, r := range c.requests {
		list[i] = *r
	}
	return list
}

// Changes returns the requests that were not readings or log-ins.
func (c *Controller) Changes() []Request {
	return slices.DeleteFunc(c.Requests(), func(r Request) bool {
		return r.read || r.Method == http.MethodGet || r.Method == http.MethodHead || strings.Contains(r.Path, "/SessionService/Sessions")
	})
}

// Forget clears the record of requests.
func (c *Controller) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = nil
}

// Sessions returns how many sessions are open.
func (c *Controller) Sessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}

// SetPassword changes the password; open sessions stay.
func (c *Controller) SetPassword(p string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.password = p
}

// Tell makes the controller lie from now on; the names are those of Lies. Without a name it is honest again.
func (c *Controller) Tell(names ...string) error {
	told := map[string]*Lie{}
	for _, name := range names {
		i := slices.IndexFunc(Lies, func(l Lie) bool { return l.Name == name })
		if i < 0 {
			return fmt.Errorf("no such lie %q", name)
		}
		told[name] = &Lies[i]
	}
	c.mu.Lock()
	c.lies, c.conflicted = told, false
	c.mu.Unlock()
	c.machine.server.mu.Lock()
	defer c.machine.server.mu.Unlock()
	_, c.machine.stuck = told["boot-stuck"]
	return nil
}

func (c *Controller) lying(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lies[name] != nil
}

func (c *Controller) told() []*Lie {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lies) == 0 {
		return nil
	}
	return slices.SortedFunc(maps.Values(c.lies), func(a, b *Lie) int { return strings.Compare(a.Name, b.Name) })
}

// ServeHTTP answers a request.
func (c *Controller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := readBody(r)
	done := c.record(r, body)
	status := 0
	defer func() { done(status) }()
	if !c.machine.server.alive(c.machine) {
		panic(http.ErrAbortHandler)
	}
	c.think(r.Context())
	for _, l := range c.told() {
		if l.request != nil && l.request(c, w, r, body) {
			return
		}
	}
	a := c.answer(r, body)
	status = a.status
	for _, l := range c.told() {
		if l.answer != nil && l.answer(c, w, r, &a) {
			status = 0
			return
		}
	}
	a.write(w)
}

// think takes the time that an answer takes.
func (c *Controller) think(ctx context.Context) {
	if c.latency == 0 {
		return
	}
	wait := time.NewTimer(min(time.Duration(rand.ExpFloat64()*float64(c.latency)), 10*c.latency))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	case <-c.idle:
	}
}

// payload is the body of a request: JSON, or only its size.
type payload struct {
	json obj
	size int64
	bad  bool
}

func readBody(r *http.Request) payload {
	const limit = 1 << 20
	if r.Body == nil || r.Method == http.MethodGet {
		return payload{}
	}
	if kind := r.Header.Get("Content-Type"); strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "application/octet-stream") {
		n, _ := io.Copy(io.Discard, r.Body)
		return payload{size: n}
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, limit))
	p := payload{size: int64(len(b)), bad: err != nil}
	if len(bytes.TrimSpace(b)) > 0 && json.Unmarshal(b, &p.json) != nil {
		p.bad = true
	}
	return p
}

func (c *Controller) record(r *http.Request, p payload) (done func(status int)) {
	req := &Request{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Size: p.size}
	if p.json != nil {
		b, err := json.Marshal(masked(p.json))
		if err == nil {
			req.Body = string(b[:min(len(b), 2048)])
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(req)
	return func(status int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		req.Status = status
	}
}

// keep remembers a request. The controller's lock is held.
func (c *Controller) keep(r *Request) {
	if len(c.requests) >= memory {
		i := max(slices.IndexFunc(c.requests, func(r *Request) bool { return r.read || r.Method == http.MethodGet }), 0)
		c.requests = slices.Delete(c.requests, i, i+1)
	}
	c.requests = append(c.requests, r)
}

func masked(v any) any {
	switch v := v.(type) {
	case obj:
		m := obj{}
		for k, e := range v {
			if low := strings.ToLower(k); strings.Contains(low, "password") || strings.Contains(low, "token") {
				e = "***"
			}
			m[k] = masked(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = masked(v[i])
		}
		return l
	}
	return v
}

// reply is an answer before it is written.
type reply struct {
	status int
	header http.Header
	body   any
}

func (a reply) write(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Odata-Version", "4.0")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

func (a reply) with(key, value string) reply {
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set(key, value)
	return a
}

// fail is an error answer (DSP0266, section Error responses).
func fail(status int, id, format string, args ...any) reply {
	text := fmt.Sprintf(format, args...)
	return reply{status: status, body: obj{"error": obj{
		"code": "Base.1.18.1." + id, "message": text,
		"@Message.ExtendedInfo": []any{obj{
			"@odata.type": "#Message.v1_1_1.Message", "MessageId": "Base.1.18.1." + id, "Message": text, "MessageSeverity": "Warning",
			"Resolution": "Correct the request and submit it again.",
		}},
	}}}
}
