package baremetal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/fake"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/shard"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/step/steps"
	"github.com/riser-project/riser/store"
)

// redfish is a hardware type that reaches no machine.
type redfish struct{ *fake.Driver }

func (redfish) Name() string { return "redfish" }

func (redfish) Interfaces() map[node.Interface][]string {
	return map[node.Interface][]string{
		node.Power: {"redfish"}, node.Management: {"redfish", "noop"}, node.Boot: {"ipxe", "pxe"}, node.Deploy: {"direct"}, node.RAID: {"no-raid"},
	}
}

func (redfish) Validate(info node.Object) error {
	if info["redfish_address"] == nil {
		return fault.New(fault.Invalid, "driver_info lacks redfish_address")
	}
	return nil
}

// host is the conductor's name in the tests.
const host = "conductor-1"

type server struct {
	testing.TB
	http.Handler
	db     *store.DB
	intake *conductor.Intake
}

// newServer starts the API on a store of its own, without a conductor.
func newServer(t testing.TB, change ...func(*baremetal.Options)) *server {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "riser.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	machines := fake.New(fake.Options{})
	opts := baremetal.Options{
		DB: db,
		Intake: &conductor.Intake{
			DB: db, Catalog: step.NewCatalog(steps.All(), fake.Steps()),
			Drivers: map[string]driver.Driver{"fake-hardware": machines, "redfish": redfish{machines}},
		},
		Config: baremetal.Config{LockWait: -1, EnabledInterfaces: map[node.Interface][]string{node.Network: {"noop", "flat"}}, DefaultInterfaces: node.Interfaces{
			node.Network: "noop", node.Storage: "noop",
		}},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&opts)
	}
	s := &server{TB: t, Handler: baremetal.New(opts), db: db, intake: opts.Intake}
	return s
}

// idle registers a conductor that is alive, holds every lease and does nothing.
func (s *server) idle() *server {
	s.Helper()
	ctx := s.Context()
	if err := s.db.SaveConductor(ctx, store.Conductor{ID: "c1", Hostname: host, Drivers: []string{"fake-hardware", "redfish"}}); err != nil {
		s.Fatal(err)
	}
	shards, err := s.db.PrepareLeases(ctx, "")
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.db.TakeLeases(ctx, "c1", shards, time.Hour, 0); err != nil {
		s.Fatal(err)
	}
	return s
}

// conducted runs a real conductor until the test ends.
func (s *server) conducted() *server {
	s.Helper()
	c := conductor.New(conductor.Options{
		DB: s.db, Holder: shard.New(s.db, shard.Options{ID: "c1", Hostname: host, Drivers: []string{"fake-hardware", "redfish"}}), Catalog: s.intake.Catalog, Drivers: s.intake.Drivers,
		Config: conductor.Config{PollInterval: 5 * time.Millisecond, SyncInterval: -1},
		Pace: driver.Pace{
			Poll: time.Millisecond, Rest: time.Millisecond, Off: time.Second, SoftOff: time.Second, On: time.Second, Restart: time.Second,
			Boot: time.Second, Hint: time.Millisecond,
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx, 0); err != nil {
			s.Error(err)
		}
	})
	s.Cleanup(func() { cancel(); wg.Wait() })
	s.until("a conductor is alive", func() bool {
		return len(s.must(http.StatusOK, http.MethodGet, "/v1/drivers", nil)["drivers"].([]any)) > 0
	})
	return s
}

// until waits for ok, which what describes.
func (s *server) until(what string, ok func() bool) {
	s.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("in vain: %s", what)
		}
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
	value  any // of a JSON body
}

// object returns the body as an object.
func (a answer) object() map[string]any {
	o, _ := a.value.(map[string]any)
	return o
}

// fault returns the text of an error answer.
func (a answer) fault() string {
	text, _ := a.object()["error_message"].(string)
	var inner map[string]any
	_ = json.Unmarshal([]byte(text), &inner)
	for _, key := range []string{"faultstring", "description"} {
		if s, ok := inner[key].(string); ok {
			return s
		}
	}
	return ""
}

// at sends a request at a microversion. body is nil, a text, or a value for JSON.
func at(t testing.TB, h http.Handler, version, method, path string, body any) answer {
	t.Helper()
	var in io.Reader = http.NoBody
	switch body := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(body)
	default:
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req := httptest.NewRequestWithContext(t.Context(), method, path, in)
	req.Host = "api.example:6385"
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if version != "" {
		req.Header.Set("X-OpenStack-Ironic-API-Version", version)
	}
	return send(h, req)
}

func send(h http.Handler, req *http.Request) answer {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	a := answer{status: w.Code, header: w.Result().Header, text: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &a.value)
	return a
}

// do sends a request at the latest microversion.
func (s *server) do(method, path string, body any) answer {
	s.Helper()
	return at(s, s, "1.115", method, path, body)
}

// must is do, and fails the test unless the answer has the status.
func (s *server) must(status int, method, path string, body any) map[string]any {
	s.Helper()
	a := s.do(method, path, body)
	if a.status != status {
		s.Fatalf("%s %s: status %d, want %d: %s", method, path, a.status, status, a.text)
	}
	return a.object()
}

// node creates a node and returns its UUID.
func (s *server) node(fields map[string]any) string {
	s.Helper()
	o := map[string]any{"driver": "fake-hardware"}
	for k, v := range fields {
		o[k] = v
	}
	id, _ := s.must(http.StatusCreated, http.MethodPost, "/v1/nodes", o)["uuid"].(string)
	return id
}

// edit changes a node behind the API's back.
func (s *server) edit(id string, change func(*node.Node)) {
	s.Helper()
	err := s.db.Write(s.Context(), func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(s.Context(), id)
		if err != nil {
			return err
		}
		change(n)
		return tx.SaveNode(s.Context(), n)
	})
	if err != nil {
		s.Fatal(err)
	}
}

type obj = map[string]any

type list = []any
