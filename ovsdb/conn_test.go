package ovsdb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/ovsdb"
)

func TestEndpoints(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"unix:/var/run/openvswitch/db.sock":       true,
		"tcp:127.0.0.1:6641":                      true,
		"tcp:[::1]:6641":                          true,
		"tcp:nb1.example:6641,tcp:10.0.0.2:6641":  true,
		"tcp:127.0.0.1:6641, unix:/run/x/db.sock": true,
		"":                         false,
		"unix:db.sock":             false,
		"unix:":                    false,
		"tcp:127.0.0.1":            false,
		"tcp::6641":                false,
		"tcp:127.0.0.1:0":          false,
		"tcp:127.0.0.1:65536":      false,
		"tcp:127.0.0.1:ovn":        false,
		"tcp:::1:6641":             false,
		"ssl:127.0.0.1:6641":       false,
		"/var/run/db.sock":         false,
		"tcp:127.0.0.1:6641,":      false,
		"unix:/a.sock,tcp:1.2.3.4": false,
	} {
		s, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: endpoint})
		if (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", endpoint, err, ok)
		}
		if err == nil {
			_ = s.Close()
		}
	}
}

func TestHealthCheck(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	gone := errors.New("connection refused")
	for _, tt := range []struct {
		name   string
		health ovsdb.Health
		want   error
		cause  error
	}{
		{"nothing was ever read", ovsdb.Health{Err: gone}, ovsdb.ErrNotConnected, gone},
		{"confirmed just now", ovsdb.Health{Connected: true, Epoch: 1, Confirmed: now}, nil, nil},
		{"confirmed as long ago as is allowed", ovsdb.Health{Connected: true, Epoch: 1, Confirmed: now.Add(-15 * time.Second)}, nil, nil},
		{"confirmed too long ago though connected", ovsdb.Health{Connected: true, Epoch: 1, Confirmed: now.Add(-16 * time.Second)}, ovsdb.ErrStale, nil},
		{"not connected but young", ovsdb.Health{Epoch: 3, Confirmed: now.Add(-time.Second), Err: gone}, nil, nil},
		{"not connected and old", ovsdb.Health{Epoch: 3, Confirmed: now.Add(-time.Minute), Err: gone}, ovsdb.ErrStale, gone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.health.Check(now, 15*time.Second)
			if !errors.Is(err, tt.want) || tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("got %v, want %v because of %v", err, tt.want, tt.cause)
			}
		})
	}
}

// until waits for a state of the connection.
func until(t *testing.T, s *ovsdb.Switch, what string, ok func(ovsdb.Health) bool) {
	t.Helper()
	sub := s.Subscribe()
	defer sub.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !ok(s.Health()) {
		select {
		case <-sub.C:
		case <-time.After(10 * time.Millisecond): // a probe gives no signal
		case <-ctx.Done():
			t.Fatalf("%s: not in time; health %+v", what, s.Health())
		}
	}
}

func TestTheServerMayComeLater(t *testing.T) {
	socket := filepath.Join(shortDir(t), "db.sock")
	s, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: "unix:" + socket})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	until(t, s, "a failed try", func(h ovsdb.Health) bool { return h.Err != nil })
	if err := s.Healthy(); !errors.Is(err, ovsdb.ErrNotConnected) || !strings.Contains(err.Error(), socket) {
		t.Errorf("healthy: %v", err)
	}
	if _, err := s.Interfaces(); !errors.Is(err, ovsdb.ErrNotConnected) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Plug(t.Context(), attach("pf0vf3", "a", 1)); !errors.Is(err, ovsdb.ErrNotConnected) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("write: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ready: %v, want the deadline and why", err)
	}
	startSwitch(t, ovs.SwitchConfig{Endpoint: "unix:" + socket})
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPlug(t, s, attach("pf0vf3", "a", 1))
}

func TestARestartedServerIsReadAnew(t *testing.T) {
	sim := startSwitch(t, ovs.SwitchConfig{})
	s, other := openSwitch(t, sim.Endpoint()), openSwitch(t, sim.Endpoint())
	mustPlug(t, s, attach("pf0vf3", "a", 1), attach("pf0vf4", "b", 1))
	for epoch := uint64(2); epoch < 5; epoch++ {
		sim.Stop()
		until(t, s, "the loss", func(h ovsdb.Health) bool { return !h.Connected })
		if list, err := s.Interfaces(); err != nil || len(list) != 2 {
			t.Errorf("a young replica is not read any more: %v, %v", list, err)
		}
		if err := sim.Listen(""); err != nil {
			t.Fatal(err)
		}
		until(t, s, "a new connection", func(h ovsdb.Health) bool { return h.Connected && h.Epoch == epoch })
		if err := other.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Plug(t.Context(), attach("pf0vf4", "b", int64(epoch))); err != nil {
			t.Fatal(err)
		}
		if wrote, err := s.Plug(t.Context(), attach("pf0vf3", "a", 1)); err != nil || wrote {
			t.Errorf("what is plugged is plugged again: %v, %v", wrote, err)
		}
	}
	sim.DropConnections()
	until(t, s, "a new connection", func(h ovsdb.Health) bool { return h.Connected && h.Epoch == 5 })
}

func TestAServerThatHangsIsGivenUp(t *testing.T) {
	sim := startSwitch(t, ovs.SwitchConfig{})
	s := openSwitchAs(t, ovsdb.Config{Endpoint: sim.Endpoint(), StaleAfter: 450 * time.Millisecond})
	mustPlug(t, s, attach("pf0vf3", "a", 1))
	sim.Freeze()
	if _, err := s.Plug(t.Context(), attach("pf0vf3", "a", 2)); err == nil {
		t.Error("an order was carried out by a server that hangs")
	}
	until(t, s, "giving up", func(h ovsdb.Health) bool { return !h.Connected })
	until(t, s, "staleness", func(ovsdb.Health) bool { return errors.Is(s.Healthy(), ovsdb.ErrStale) })
	if _, err := s.Interfaces(); !errors.Is(err, ovsdb.ErrStale) {
		t.Errorf("a stale replica was read: %v", err)
	}
	sim.Thaw()
	until(t, s, "a new connection", func(h ovsdb.Health) bool { return h.Connected })
	mustPlug(t, s, attach("pf0vf3", "a", 3))
	before := s.Health().Confirmed
	until(t, s, "a probe", func(h ovsdb.Health) bool { return h.Confirmed.After(before) || s.Healthy() != nil })
	if err := s.Healthy(); err != nil {
		t.Errorf("a silent server that answers probes: %v", err)
	}
}

func TestCancellationEndsAWrite(t *testing.T) {
	sim := startSwitch(t, ovs.SwitchConfig{})
	s := openSwitch(t, sim.Endpoint())
	sim.Freeze()
	defer sim.Thaw()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := s.Plug(ctx, attach("pf0vf3", "a", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the cancellation", err)
	}
}

func TestTheServersOfAClusterAreTriedInTurn(t *testing.T) {
	sim := startSwitch(t, ovs.SwitchConfig{})
	dead := filepath.Join(shortDir(t), "none.sock")
	s := openSwitch(t, "unix:"+dead+","+sim.Endpoint())
	mustPlug(t, s, attach("pf0vf3", "a", 1))
}

func TestAnotherDatabaseIsRefusedWithItsReason(t *testing.T) {
	sim, err := ovs.StartNorthbound(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	s, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: sim.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	until(t, s, "the refusal", func(h ovsdb.Health) bool { return h.Err != nil && strings.Contains(h.Err.Error(), "unknown database") })
}

func TestAWatchTellsEveryPortAgainAfterAReconnection(t *testing.T) {
	sim, err := ovs.StartNorthbound(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	n, other := openNorthbound(t, sim.Endpoint()), openNorthbound(t, sim.Endpoint())
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "net-1"}, true)
	for _, name := range []string{"a", "b"} {
		set(t, n.SetPort, ovsdb.LogicalPort{Name: name, Switch: "net-1", Generation: 1}, true)
	}
	events := watchPorts(t, n)
	expectEvent(t, events, ovsdb.PortEvent{Name: "a", Generation: 1})
	expectEvent(t, events, ovsdb.PortEvent{Name: "b", Generation: 1})
	sim.DropConnections()
	expectEvent(t, events, ovsdb.PortEvent{Name: "a", Generation: 1})
	expectEvent(t, events, ovsdb.PortEvent{Name: "b", Generation: 1})
	if err := other.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.DeletePort(t.Context(), "b", 1); err != nil {
		t.Fatal(err)
	}
	expectEvent(t, events, ovsdb.PortEvent{Name: "b", Gone: true})
}

func TestAWatchEndsWithItsConnection(t *testing.T) {
	sim, err := ovs.StartNorthbound(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	n := openNorthbound(t, sim.Endpoint())
	done := make(chan error)
	go func() { done <- n.WatchPorts(context.WithoutCancel(t.Context()), func(ovsdb.PortEvent) {}) }()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the watch ended without a reason")
	}
	if err := n.Ready(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ready after Close: %v", err)
	}
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	sim, err := ovs.StartSwitch(ovs.SwitchConfig{Endpoint: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: sim.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPlug(t, s, attach("pf0vf3", "a", 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "riser") //nolint:usetesting // the path of a socket has room for about 100 bytes only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// chatterbox is a server that lets a client load an empty replica and then says what it likes.
func chatterbox(t testing.TB, nc net.Conn, schema json.RawMessage, speech []byte) {
	defer nc.Close()
	requests := json.NewDecoder(nc)
	for range 2 {
		var m rawMessage
		if requests.Decode(&m) != nil {
			return
		}
		result := json.RawMessage("{}")
		if m.Method == "get_schema" {
			result = schema
		}
		answer, err := json.Marshal(map[string]any{"id": m.ID, "result": result, "error": nil})
		if err != nil {
			t.Error(err)
			return
		}
		if m.Method == "monitor_cond" {
			answer = append(answer, speech...)
		}
		if _, err := nc.Write(answer); err != nil {
			return
		}
	}
}

func FuzzServerMessages(f *testing.F) {
	schema, err := os.ReadFile("../internal/sim/ovs/schema/switch.json")
	if err != nil {
		f.Fatal(err)
	}
	update := `{"method":"update2","id":null,"params":["riser",{"Interface":{"9cb28ea7-63a8-4ea0-ad0a-ecd8a1d4ed4c":%s}}]}`
	for _, change := range []string{
		`{"insert":{"name":"pf0vf3","external_ids":["map",[["iface-id","a"],["riser-owner","riser"],["riser-generation","7"]]]}}`,
		`{"modify":{"external_ids":["map",[["iface-id","b"]]]}}`, `{"delete":null}`, `null`, `{"insert":{"name":[]}}`,
		`{"insert":{"external_ids":["map",[1]]}}`, `{"insert":{"external_ids":["map"]}}`, `{"insert":{"ofport":["set",[["uuid"]]]}}`,
	} {
		f.Add(fmt.Appendf(nil, update, change))
	}
	f.Add([]byte(`{"id":7,"result":[]}{"method":"echo","id":"x","params":[1]}`))
	f.Add([]byte(`{"method":"update2","params":[]}`))
	f.Fuzz(func(t *testing.T, speech []byte) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if nc, err := l.Accept(); err == nil {
				chatterbox(t, nc, schema, speech)
			}
			_ = l.Close()
		}()
		s, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: "tcp:" + l.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		until(t, s, "the end", func(h ovsdb.Health) bool { return h.Err != nil })
		if list, err := s.Interfaces(); err == nil {
			for _, i := range list {
				if i.Generation < -1 {
					t.Errorf("interface %+v", i)
				}
			}
		}
		_ = s.Close()
		<-done
	})
}
