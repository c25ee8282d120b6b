package remote_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
	"github.com/riser-project/riser/virt/remote"
)

// How orders and reports go through an agent, and the contract of a virt driver, is tested in api/agents.

const id = "5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0001"

// open returns a store with host cmp1, whose agent is silent.
func open(t testing.TB) *store.DB {
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
	must(t, db.Write(t.Context(), func(tx *store.Tx) error {
		return tx.SaveHostReport(t.Context(), &store.Host{Name: "cmp1"}, -time.Second)
	}))
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unavailable checks that an order could not be seen to be carried out.
func unavailable(t testing.TB, err error) {
	t.Helper()
	if !fault.Is(err, fault.Unavailable) {
		t.Fatalf("error %v, want it unavailable", err)
	}
}

// orders returns what the host is to do, without the revisions.
func orders(t testing.TB, db *store.DB, after int64) ([]wire.Domain, int64) {
	t.Helper()
	list, err := remote.Domains(t.Context(), db, "cmp1", after)
	must(t, err)
	for i := range list.Domains {
		list.Domains[i].Revision = 0
	}
	return list.Domains, list.Revision
}

func TestTheNewestOrderIsWhatAHostIsToDo(t *testing.T) {
	db := open(t)
	d := remote.New(db, "cmp1")
	f := virt.Function{Address: "0000:82:00.3", MAC: "fa:16:3e:00:00:01"}
	unavailable(t, d.Define(t.Context(), virt.Domain{ID: id, Name: "web", VCPUs: 2, MemoryMB: 96, Image: "x", Functions: []virt.Function{f}}))
	unavailable(t, d.Start(t.Context(), id))
	want := wire.Domain{ID: id, Want: wire.WantRunning, Name: "web", VCPUs: 2, MemoryMB: 96, Image: "x", Functions: []wire.Function{wire.Function(f)}}
	got, first := orders(t, db, 0)
	if diff := cmp.Diff([]wire.Domain{want}, got); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	if again, _ := orders(t, db, first); len(again) != 0 {
		t.Errorf("after the newest revision there is still %+v", again)
	}
	unavailable(t, d.Detach(t.Context(), id, f.Address))
	want.Functions, want.Removed = nil, []string{f.Address}
	if got, _ = orders(t, db, first); !cmp.Equal([]wire.Domain{want}, got) {
		t.Errorf("after the detach: %+v", got)
	}
	if err := d.Define(t.Context(), virt.Domain{ID: id[:35] + "2", Functions: []virt.Function{f}}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a function that the host has not said to be free was given to another domain: %v", err)
	}
	unavailable(t, d.Destroy(t.Context(), id))
	want.Want, want.Hard = wire.WantAbsent, true
	if got, _ = orders(t, db, first); !cmp.Equal([]wire.Domain{want}, got) {
		t.Errorf("after the end: %+v", got)
	}
}

func TestReportsThatAreNotBelieved(t *testing.T) {
	db := open(t)
	d := remote.New(db, "cmp1")
	unavailable(t, d.Define(t.Context(), virt.Domain{ID: id}))
	_, revision := orders(t, db, 0)
	report := func(host string, s wire.DomainStatus) error {
		return remote.Report(t.Context(), db, host, []wire.DomainStatus{s})
	}
	must(t, report("cmp1", wire.DomainStatus{ID: id, Revision: revision, State: "running"}))
	for name, f := range map[string]func() error{
		"of a revision that was never given": func() error {
			return report("cmp1", wire.DomainStatus{ID: id, Revision: revision + 1, State: "stopped"})
		},
		"of a revision that is overtaken":    func() error { return report("cmp1", wire.DomainStatus{ID: id, Revision: 1, State: "stopped"}) },
		"of a domain that was never ordered": func() error { return report("cmp1", wire.DomainStatus{ID: "x", State: "stopped"}) },
		"of another host":                    func() error { return report("cmp2", wire.DomainStatus{ID: id, State: "stopped"}) },
	} {
		must(t, f())
		if state, err := d.State(t.Context(), id); err != nil || state != virt.Running {
			t.Errorf("after a report %s the domain is %s, error %v", name, state, err)
		}
	}
	if err := report("cmp1", wire.DomainStatus{ID: id, State: "dancing"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a state that is none: %v", err)
	}
}

// Whatever a host says of domains, it changes none but those that it was told of, and none of another host.
func FuzzReport(f *testing.F) {
	for _, s := range []wire.DomainStatus{
		{ID: id, Revision: 1, State: "running"}, {ID: id, Revision: -1, State: "absent"}, {ID: "", State: "stopped"}, {ID: id, State: "dancing"},
		{ID: id, Revision: 1 << 62, State: "absent", Kind: "x", Error: "\xff"},
	} {
		b, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("cmp2", b)
	}
	db := open(f)
	unavailable(f, remote.New(db, "cmp1").Define(f.Context(), virt.Domain{ID: id}))
	_, head := orders(f, db, 0)
	f.Fuzz(func(t *testing.T, host string, body []byte) {
		var s wire.DomainStatus
		if json.Unmarshal(body, &s) != nil || host == "cmp1" {
			return
		}
		if err := remote.Report(t.Context(), db, host, []wire.DomainStatus{s}); err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("%v, want it taken or invalid", err)
		}
		if list, now := orders(t, db, 0); len(list) != 1 || now != head {
			t.Errorf("cmp1 is to do %+v", list)
		}
	})
}
