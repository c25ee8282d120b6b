package baremetal_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// populate puts n nodes into the store.
func (s *server) populate(n int) (first string) {
	s.Helper()
	ctx := s.Context()
	interfaces := node.Interfaces{}
	for _, kind := range node.AllInterfaces {
		interfaces[kind] = "fake"
	}
	err := s.db.Write(ctx, func(tx *store.Tx) error {
		for i := range n {
			m := &node.Node{
				UUID: uuid.NewString(), Name: fmt.Sprintf("node-%d", i), Driver: "fake-hardware", Provision: node.Available, Power: node.PowerOn,
				ResourceClass: "baremetal", Interfaces: interfaces, Properties: node.Object{"cpu_arch": "x86_64", "memory_mb": 65536.0},
				DriverInfo: node.Object{"redfish_address": "https://bmc.example", "redfish_password": "secret"}, Extra: node.Object{"rack": "a1"},
			}
			if err := tx.InsertNode(ctx, m); err != nil {
				return err
			}
			if i == 0 {
				first = m.UUID
			}
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return first
}

// get sends a GET and counts the bytes of the answer.
func (s *server) get(b *testing.B, path string) {
	req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, path, http.NoBody)
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.115")
	w := sink{}
	s.ServeHTTP(&w, req)
	if w.status != http.StatusOK {
		b.Fatalf("%s: %d", path, w.status)
	}
}

// sink is a response that goes nowhere.
type sink struct {
	header http.Header
	status int
}

func (w *sink) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

func (w *sink) WriteHeader(status int) { w.status = status }

func (w *sink) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkGetNode(b *testing.B) {
	s := newServer(b).idle()
	id := s.populate(1000)
	for b.Loop() {
		s.get(b, "/v1/nodes/"+id)
	}
}

func BenchmarkList1000(b *testing.B) {
	s := newServer(b).idle()
	s.populate(1000)
	for _, c := range []struct{ name, path string }{
		{"default", "/v1/nodes"}, {"detail", "/v1/nodes/detail"}, {"fields", "/v1/nodes?fields=uuid,name,provision_state"},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				s.get(b, c.path)
			}
		})
	}
}

func BenchmarkList10000(b *testing.B) {
	s := newServer(b).idle()
	s.populate(10000)
	for _, c := range []struct{ name, path string }{{"default", "/v1/nodes"}, {"detail", "/v1/nodes?detail=true"}, {"fields", "/v1/nodes?fields=uuid,name,provision_state"}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				path, pages := c.path, 0
				for path != "" {
					a := at(b, s, "1.115", http.MethodGet, path, nil)
					if a.status != http.StatusOK {
						b.Fatal(a.text)
					}
					path, _ = a.object()["next"].(string)
					path = strings.TrimPrefix(path, "http://api.example:6385")
					pages++
				}
				if pages != 11 {
					b.Fatalf("%d pages", pages)
				}
			}
		})
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.Logf("heap in use with 10,000 nodes: %d MiB", m.HeapInuse>>20)
}

func BenchmarkCreateNode(b *testing.B) {
	s := newServer(b).idle()
	for b.Loop() {
		if a := at(b, s, "1.115", http.MethodPost, "/v1/nodes", obj{"driver": "fake-hardware"}); a.status != http.StatusCreated {
			b.Fatal(a.text)
		}
	}
}

func BenchmarkPatchNode(b *testing.B) {
	s := newServer(b).idle()
	id := s.populate(1)
	for b.Loop() {
		if a := at(b, s, "1.115", http.MethodPatch, "/v1/nodes/"+id, []obj{{"op": "add", "path": "/extra/a", "value": 1}}); a.status != http.StatusOK {
			b.Fatal(a.text)
		}
	}
}
