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
	"testing"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// hardware is a hardware type that reaches no machine.
type hardware struct {
	name string
	impl string
}

func (h hardware) Name() string { return h.name }

func (h hardware) Interfaces() map[node.Interface][]string {
	m := map[node.Interface][]string{}
	for _, kind := range node.AllInterfaces {
		m[kind] = []string{h.impl}
	}
	m[node.Network], m[node.Storage] = []string{"noop", "flat"}, []string{"noop", "fake"}
	for _, kind := range []node.Interface{node.BIOS, node.Console, node.Firmware, node.Inspect, node.RAID, node.Rescue, node.Vendor} {
		m[kind] = append(m[kind], "no-"+string(kind))
	}
	return m
}

func (h hardware) Properties() []driver.Property {
	return []driver.Property{{Key: "address", Description: "Address of the controller."}}
}

func (h hardware) Validate(info node.Object) error {
	if h.impl != "fake" && info["address"] == nil {
		return fault.New(fault.Invalid, "driver_info lacks address")
	}
	return nil
}

func (hardware) Address(node.Object) string { return "" }

func (hardware) Open(context.Context, *node.Node) (driver.Conn, error) {
	return nil, fault.New(fault.Unsupported, "this machine is not there")
}

// host is the conductor's name in the tests.
const host = "conductor-1"

type server struct {
	*testing.T
	http.Handler
	db *store.DB
}

// newServer starts the API on a store of its own, with a conductor that is alive and does nothing.
func newServer(t testing.TB, change ...func(*baremetal.Options)) *server {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "riser.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	drivers := map[string]driver.Driver{"fake-hardware": hardware{"fake-hardware", "fake"}, "redfish": hardware{"redfish", "redfish"}}
	if err := db.SaveConductor(t.Context(), store.Conductor{ID: "c1", Hostname: host, Drivers: []string{"fake-hardware", "redfish"}}); err != nil {
		t.Fatal(err)
	}
	shards, err := db.PrepareLeases(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.TakeLeases(t.Context(), "c1", shards, 1e12, 0); err != nil {
		t.Fatal(err)
	}
	opts := baremetal.Options{
		DB:     db,
		Intake: &conductor.Intake{DB: db, Catalog: step.NewCatalog(), Drivers: drivers},
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&opts)
	}
	tt, _ := t.(*testing.T)
	return &server{T: tt, Handler: baremetal.New(opts), db: db}
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
