// Package virttest is the contract of a virt driver as tests. Every driver passes the same suite.
package virttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/virt"
)

// Harness is a driver under test.
type Harness struct {
	Driver virt.Driver

	// Functions are the addresses of two functions of the host that a guest may have.
	Functions [2]string

	// Cold says that the hypervisor cannot give a running domain a function, as libvirt's test driver cannot. The suite then stops the domain
	// meanwhile.
	Cold bool
}

// plug attaches or detaches, while the domain is stopped if it has to be.
func (h Harness) plug(t *testing.T, change func() error) {
	t.Helper()
	if h.Cold {
		must(t, h.Driver.Stop(t.Context(), one, true))
	}
	must(t, change())
	if h.Cold {
		must(t, h.Driver.Start(t.Context(), one))
	}
}

const patience = 30 * time.Second

// Domains of the suite.
const (
	one = "5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0001"
	two = "5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0002"
)

// Run runs the suite. open gives a driver of a host without domains.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"a domain is absent, stopped, running, stopped and absent again": life,
		"every change can be repeated":                                   repeat,
		"two domains do not share a function":                            share,
		"a detached function is free for another domain":                 detach,
		"an attached function stays over a restart":                      attach,
		"starting what is not defined is not found":                      startAbsent,
		"a watcher hears of each change":                                 watch,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func domain(id string, addresses ...string) virt.Domain {
	d := virt.Domain{ID: id, Name: "suite-" + id[len(id)-1:], VCPUs: 1, MemoryMB: 96}
	for _, a := range addresses {
		d.Functions = append(d.Functions, virt.Function{Address: a, MAC: "fa:16:3e:00:00:01"})
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, h Harness, state virt.State) {
	t.Helper()
	got, err := h.Driver.State(t.Context(), one)
	must(t, err)
	if got != state {
		t.Fatalf("the domain is %s, want %s", got, state)
	}
}

func life(t *testing.T, h Harness) {
	ctx := t.Context()
	want(t, h, virt.Absent)
	must(t, h.Driver.Define(ctx, domain(one)))
	want(t, h, virt.Stopped)
	must(t, h.Driver.Start(ctx, one))
	want(t, h, virt.Running)
	must(t, h.Driver.Stop(ctx, one, true))
	want(t, h, virt.Stopped)
	must(t, h.Driver.Destroy(ctx, one))
	want(t, h, virt.Absent)
}

func repeat(t *testing.T, h Harness) {
	ctx := t.Context()
	twice := func(f func() error) {
		t.Helper()
		must(t, f())
		must(t, f())
	}
	function := virt.Function{Address: h.Functions[1], MAC: "fa:16:3e:00:00:02"}
	twice(func() error { return h.Driver.Define(ctx, domain(one, h.Functions[0])) })
	twice(func() error { return h.Driver.Start(ctx, one) })
	twice(func() error { return h.Driver.Define(ctx, domain(one, h.Functions[0])) })
	want(t, h, virt.Running)
	for range 2 {
		h.plug(t, func() error { return h.Driver.Attach(ctx, one, function) })
	}
	for range 2 {
		h.plug(t, func() error { return h.Driver.Detach(ctx, one, function.Address) })
	}
	twice(func() error { return h.Driver.Stop(ctx, one, true) })
	twice(func() error { return h.Driver.Destroy(ctx, one) })
	must(t, h.Driver.Stop(ctx, one, true))
}

func share(t *testing.T, h Harness) {
	ctx := t.Context()
	must(t, h.Driver.Define(ctx, domain(one, h.Functions[0])))
	if err := h.Driver.Define(ctx, domain(two, h.Functions[0])); !fault.Is(err, fault.Conflict) {
		t.Errorf("defining a second domain with the function: %v, want a conflict", err)
	}
	must(t, h.Driver.Define(ctx, domain(two)))
	if err := h.Driver.Attach(ctx, two, virt.Function{Address: h.Functions[0], MAC: "fa:16:3e:00:00:02"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("attaching the function to a second domain: %v, want a conflict", err)
	}
}

func detach(t *testing.T, h Harness) {
	ctx := t.Context()
	must(t, h.Driver.Define(ctx, domain(one, h.Functions[0])))
	must(t, h.Driver.Start(ctx, one))
	h.plug(t, func() error { return h.Driver.Detach(ctx, one, h.Functions[0]) })
	must(t, h.Driver.Define(ctx, domain(two, h.Functions[0])))
	must(t, h.Driver.Start(ctx, two))
}

func attach(t *testing.T, h Harness) {
	ctx := t.Context()
	must(t, h.Driver.Define(ctx, domain(one)))
	must(t, h.Driver.Start(ctx, one))
	h.plug(t, func() error {
		return h.Driver.Attach(ctx, one, virt.Function{Address: h.Functions[0], MAC: "fa:16:3e:00:00:02"})
	})
	must(t, h.Driver.Stop(ctx, one, true))
	must(t, h.Driver.Start(ctx, one))
	if err := h.Driver.Define(ctx, domain(two, h.Functions[0])); !fault.Is(err, fault.Conflict) {
		t.Errorf("after a restart another domain gets the function: %v, want a conflict", err)
	}
}

func startAbsent(t *testing.T, h Harness) {
	if err := h.Driver.Start(t.Context(), one); !fault.Is(err, fault.NotFound) {
		t.Errorf("start of an absent domain: %v, want not found", err)
	}
}

func watch(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := make(chan virt.Event, 64)
	ended := make(chan error, 1)
	must(t, h.Driver.Define(t.Context(), domain(one)))
	go func() { ended <- h.Driver.Watch(ctx, func(e virt.Event) { events <- e }) }()
	expect := func(s virt.State) {
		t.Helper()
		deadline := time.After(patience)
		for {
			select {
			case e := <-events:
				if e.ID == one && e.State == s {
					return
				}
			case <-deadline:
				t.Fatalf("no event says that the domain is %s", s)
			}
		}
	}
	expect(virt.Stopped)
	must(t, h.Driver.Start(t.Context(), one))
	expect(virt.Running)
	must(t, h.Driver.Destroy(t.Context(), one))
	expect(virt.Absent)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch ended with %v, want the context's error", err)
	}
}
