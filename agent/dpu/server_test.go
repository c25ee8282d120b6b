package dpu_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/wire"
)

// server is riser's server as far as DPU agents see it: it keeps orders and what it was told, over HTTP.
type server struct {
	t  testing.TB
	ts *httptest.Server

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	interval time.Duration
	revision int64
	orders   map[string]json.RawMessage // by port
	given    map[string]int64           // revision, by port
	full     bool                       // the next answer is a full list
	status   map[string]wire.PortStatus
	told     []wire.PortStatus // everything, in order
	reports  []wire.DPUReport
	beats    int
	polls    int
	refuse   func(what string) (int, string) // called under the lock; nil or status 0: do not refuse
	bad      string                          // a status of this port is malformed
	stale    bool                            // ask for a new report at the next heartbeat
}

func newServer(t testing.TB) *server {
	s := &server{
		t: t, changed: make(chan struct{}), interval: time.Minute, orders: map[string]json.RawMessage{}, given: map[string]int64{},
		status: map[string]wire.PortStatus{},
	}
	s.ts = httptest.NewServer(s)
	t.Cleanup(s.ts.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/agents/v1/dpus/"), "/")
	if len(parts) != 2 {
		http.NotFound(w, r)
		return
	}
	what := parts[1]
	if code, text := s.refused(what); code != 0 {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(wire.Error{Error: text})
		return
	}
	if what == "orders" {
		s.serveOrders(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := wire.Reply{Interval: s.interval, Lease: 4 * s.interval}
	var err error
	switch what {
	case "report":
		var report wire.DPUReport
		err = json.NewDecoder(r.Body).Decode(&report)
		s.reports = append(s.reports, report)
	case "heartbeat":
		s.beats++
		reply.Rediscover, s.stale = s.stale, false
	case "status":
		var report wire.StatusReport
		err = json.NewDecoder(r.Body).Decode(&report)
		if slices.ContainsFunc(report.Ports, func(p wire.PortStatus) bool { return p.Port == s.bad }) {
			http.Error(w, "no such port", http.StatusBadRequest)
			return
		}
		for _, p := range report.Ports {
			s.status[p.Port] = p
			s.told = append(s.told, p)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.wake()
	_ = json.NewEncoder(w).Encode(reply)
}

// refused tells how a call is to be refused, if it is.
func (s *server) refused(what string) (code int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse == nil {
		return 0, ""
	}
	defer s.wake()
	return s.refuse(what)
}

func (s *server) serveOrders(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	over := time.NewTimer(wait)
	defer over.Stop()
	s.mu.Lock()
	s.polls++
	s.mu.Unlock()
	for done := false; ; {
		s.mu.Lock()
		if after > s.revision || s.full {
			after, s.full = 0, false
		}
		list := []json.RawMessage{}
		for _, port := range slices.Sorted(maps.Keys(s.orders)) {
			if after == 0 || s.given[port] > after {
				list = append(list, s.orders[port])
			}
		}
		revision, changed := s.revision, s.changed
		s.mu.Unlock()
		if after == 0 || len(list) > 0 || done {
			_ = json.NewEncoder(w).Encode(map[string]any{"revision": revision, "full": after == 0, "orders": list})
			return
		}
		select {
		case <-changed:
		case <-over.C:
			done = true
		case <-r.Context().Done():
			return
		}
	}
}

func (s *server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// order gives an order.
func (s *server) order(orders ...wire.Order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range orders {
		s.give(o)
	}
	s.wake()
}

// give is order for a caller that has the lock and wakes the agents.
func (s *server) give(o wire.Order) {
	s.revision++
	o.Revision = s.revision
	text, err := json.Marshal(o)
	if err != nil {
		s.t.Error(err)
	}
	s.orders[o.Port], s.given[o.Port] = text, s.revision
}

// orderText gives an order that no server of ours would write.
func (s *server) orderText(port, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.orders[port], s.given[port] = json.RawMessage(text), s.revision
	s.wake()
}

// withdraw forgets the order for a port, without a word to the agent.
func (s *server) withdraw(port string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.orders, port)
}

// do changes the server.
func (s *server) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.wake()
}

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// until waits until the condition, which is called under the server's lock, holds.
func (s *server) until(what string, holds func() bool) {
	s.t.Helper()
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		s.mu.Lock()
		ok, changed := holds(), s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-over.C:
			s.t.Fatalf("%s: not within %v; the server was told %s", what, patience, s.history())
		}
	}
}

// history lists what the server was told of ports last.
func (s *server) history() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, _ := json.Marshal(s.told[max(0, len(s.told)-20):])
	return string(text)
}

// wantStatus waits for a status of a port at a generation and returns it.
func (s *server) wantStatus(port string, generation int64, state string) wire.PortStatus {
	s.t.Helper()
	s.until("port "+port+" "+state+" at generation "+strconv.FormatInt(generation, 10), func() bool {
		return s.status[port].State == state && s.status[port].Generation == generation
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status[port]
}

// wantReason waits for a status whose reason has each of the texts.
func (s *server) wantReason(port, state string, texts ...string) {
	s.t.Helper()
	s.until("port "+port+" "+state+" because of "+strings.Join(texts, ", "), func() bool {
		p := s.status[port]
		return p.State == state && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(p.Reason, text) })
	})
}

// ever returns the states that were told of a port, in order.
func (s *server) ever(port string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, p := range s.told {
		if p.Port == port {
			list = append(list, p.State)
		}
	}
	return list
}

// report waits for a report that the condition holds for.
func (s *server) report(what string, holds func(*wire.DPUReport) bool) wire.DPUReport {
	s.t.Helper()
	s.until("a report with "+what, func() bool { return len(s.reports) > 0 && holds(&s.reports[len(s.reports)-1]) })
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports[len(s.reports)-1]
}

// count returns how many reports there were.
func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reports)
}

// countBeats returns how many heartbeats there were.
func (s *server) countBeats() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beats
}
