package agents_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/host"
	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/api/agents"
	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/fault"
	netfake "github.com/riser-project/riser/network/fake"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
	"github.com/riser-project/riser/virt/fake"
	"github.com/riser-project/riser/virt/remote"
	"github.com/riser-project/riser/virt/virttest"
)

const domainID = "5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0001"

// domainWorld is a server with a host, cmp1, whose agent is run by start.
type domainWorld struct {
	t      *testing.T
	db     *store.DB
	url    string
	fake   *fake.Driver // what the agent runs domains with
	driver *remote.Driver
}

func newDomainWorld(t *testing.T) *domainWorld {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "riser.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	handler := agents.New(agents.Options{
		DB: db, Enrol: enrol.New(enrol.Options{DB: db, Driver: "redfish"}), Binding: binding.New(binding.Options{DB: db, Backend: netfake.New()}),
	})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w := &domainWorld{t: t, db: db, url: server.URL, fake: fake.New(), driver: remote.New(db, "cmp1")}
	w.write(func(tx *store.Tx) error { return tx.SaveHostReport(t.Context(), &store.Host{Name: "cmp1"}, time.Hour) })
	return w
}

func (w *domainWorld) write(f func(*store.Tx) error) {
	w.t.Helper()
	w.must(w.db.Write(w.t.Context(), f))
}

func (w *domainWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start runs the host's agent until stop is called, or the test ends.
func (w *domainWorld) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- host.RunDomains(ctx, host.DomainConfig{Host: "cmp1", Server: w.url, Virt: w.fake, Retry: 10 * time.Millisecond})
	}()
	stop = func() {
		if cancel(); ended != nil {
			w.must(<-ended)
			ended = nil
		}
	}
	w.t.Cleanup(stop)
	return stop
}

func TestTheContractOfAVirtDriverOverAnAgent(t *testing.T) {
	virttest.Run(t, func(t *testing.T) virttest.Harness {
		w := newDomainWorld(t)
		w.start()
		return virttest.Harness{Driver: w.driver, Functions: [2]string{"0000:82:00.3", "0000:82:00.4"}}
	})
}

func TestAnOrderStandsWhileTheAgentIsSilent(t *testing.T) {
	w := newDomainWorld(t)
	stop := w.start()
	w.must(w.driver.Define(t.Context(), virt.Domain{ID: domainID, Name: "web"}))
	stop()
	w.write(func(tx *store.Tx) error {
		_, err := tx.BeatHost(t.Context(), "cmp1", -time.Second)
		return err
	})
	if err := w.driver.Start(t.Context(), domainID); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "its agent is silent") {
		t.Errorf("error %v, want it unavailable", err)
	}
	w.write(func(tx *store.Tx) error {
		_, err := tx.BeatHost(t.Context(), "cmp1", time.Hour)
		return err
	})
	w.start()
	w.must(w.driver.Start(t.Context(), domainID))
	if s, _ := w.fake.State(t.Context(), domainID); s != virt.Running {
		t.Errorf("the domain is %s", s)
	}
}

func TestWhatFailsForNowIsTriedAgain(t *testing.T) {
	w := newDomainWorld(t)
	w.start()
	w.fake.Fail(fault.New(fault.Unavailable, "the daemon restarts"))
	done := make(chan error, 1)
	go func() { done <- w.driver.Define(context.WithoutCancel(t.Context()), virt.Domain{ID: domainID}) }()
	select {
	case err := <-done:
		t.Fatalf("it ended with %v although the hypervisor is away", err)
	case <-time.After(50 * time.Millisecond):
	}
	w.fake.Fail(nil)
	w.must(<-done)
}

func TestWhatFailsForGoodIsTold(t *testing.T) {
	w := newDomainWorld(t)
	w.start()
	w.fake.Fail(fault.New(fault.Conflict, "no such slot"))
	if err := w.driver.Define(t.Context(), virt.Domain{ID: domainID}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "host cmp1: no such slot") {
		t.Errorf("error %v", err)
	}
}

func TestACrashIsTold(t *testing.T) {
	w := newDomainWorld(t)
	w.start()
	w.must(w.driver.Define(t.Context(), virt.Domain{ID: domainID}))
	w.must(w.driver.Start(t.Context(), domainID))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w.fake.Crash(domainID)
	_ = w.driver.Watch(ctx, func(e virt.Event) {
		if e.ID == domainID && e.State == virt.Crashed {
			cancel()
		}
	})
	if s, err := w.driver.State(t.Context(), domainID); err != nil || s != virt.Crashed {
		t.Errorf("the domain is %s, error %v", s, err)
	}
}

func TestAHostSeesItsOwnDomainsOnly(t *testing.T) {
	w := newDomainWorld(t)
	w.start()
	w.must(w.driver.Define(t.Context(), virt.Domain{ID: domainID}))
	for name, want := range map[string]int{"cmp1": 1, "cmp2": 0} {
		list, err := remote.Domains(t.Context(), w.db, name, 0)
		if err != nil || len(list.Domains) != want {
			t.Errorf("host %s sees %+v, error %v", name, list, err)
		}
	}
	response, err := http.Get(w.url + "/agents/v1/hosts/cmp1/domains?after=x")
	w.must(err)
	w.must(response.Body.Close())
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("a revision that is none: %s", response.Status)
	}
}

func TestAHostSpeaksOfItsOwnDomainsOnly(t *testing.T) {
	w := open(t, named{})
	report := wire.DomainReport{Domains: []wire.DomainStatus{}}
	for name, tt := range map[string]struct {
		as, method, path string
		in               any
		status           int
	}{
		"a host for itself":           {"cmp1", "GET", "/agents/v1/hosts/cmp1/domains", nil, 200},
		"a host for another":          {"cmp2", "GET", "/agents/v1/hosts/cmp1/domains", nil, 403},
		"a DPU":                       {serial1, "GET", "/agents/v1/hosts/cmp1/domains", nil, 403},
		"somebody unknown":            {"", "GET", "/agents/v1/hosts/cmp1/domains", nil, 401},
		"a host's report of its own":  {"cmp1", "POST", "/agents/v1/hosts/cmp1/domains/status", report, 200},
		"a host's report of another":  {"cmp2", "POST", "/agents/v1/hosts/cmp1/domains/status", report, 403},
		"a report of an absurd state": {"cmp1", "POST", "/agents/v1/hosts/cmp1/domains/status", wire.DomainReport{Domains: []wire.DomainStatus{{ID: domainID, State: "dancing"}}}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			if status, text := w.call(t, tt.as, tt.method, tt.path, tt.in, nil); status != tt.status {
				t.Errorf("status %d: %s; want %d", status, text, tt.status)
			}
		})
	}
}
