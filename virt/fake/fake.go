// Package fake is a virt driver without a hypervisor: domains are entries of a table. It is for tests, for the demo, and for trying out a control
// plane.
package fake

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/virt"
)

// Driver is a virt.Driver in memory.
type Driver struct {
	mu       sync.Mutex
	domains  map[string]*domain
	failure  error
	watchers map[*watcher]bool
}

type domain struct {
	virt.Domain
	state virt.State
}

type watcher struct {
	changed map[string]bool
	wake    chan struct{}
}

var _ virt.Driver = (*Driver)(nil)

// New returns a Driver without domains.
func New() *Driver { return &Driver{domains: map[string]*domain{}, watchers: map[*watcher]bool{}} }

// Name is "fake".
func (d *Driver) Name() string { return "fake" }

// Fail makes every further change fail with err, until it is called with nil.
func (d *Driver) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failure = err
}

// Domain returns a domain as it is, and whether it is known.
func (d *Driver) Domain(id string) (virt.Domain, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dom := d.domains[id]
	if dom == nil {
		return virt.Domain{}, false
	}
	out := dom.Domain
	out.Functions = slices.Clone(dom.Functions)
	return out, true
}

// Crash stops a domain as a guest's panic would.
func (d *Driver) Crash(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dom := d.domains[id]; dom != nil {
		d.set(dom, virt.Crashed)
	}
}

func (d *Driver) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.failure
}

// Define makes the domain known as dom says.
func (d *Driver) Define(ctx context.Context, dom virt.Domain) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(ctx); err != nil {
		return err
	}
	for _, f := range dom.Functions {
		if err := d.unused(dom.ID, f.Address); err != nil {
			return err
		}
	}
	dom.Functions = slices.Clone(dom.Functions)
	if have := d.domains[dom.ID]; have != nil {
		have.Domain = dom
		return nil
	}
	d.domains[dom.ID] = &domain{Domain: dom}
	d.set(d.domains[dom.ID], virt.Stopped)
	return nil
}

// unused returns an error when another domain than id has the function.
func (d *Driver) unused(id, address string) error {
	for other, dom := range d.domains {
		if other != id && index(dom, address) >= 0 {
			return fault.New(fault.Conflict, "domain %s: function %s belongs to domain %s", id, address, other)
		}
	}
	return nil
}

func index(dom *domain, address string) int {
	return slices.IndexFunc(dom.Functions, func(f virt.Function) bool { return f.Address == address })
}

func (d *Driver) find(id string) (*domain, error) {
	if dom := d.domains[id]; dom != nil {
		return dom, nil
	}
	return nil, fault.New(fault.NotFound, "domain %s is not defined", id)
}

// Start runs the domain.
func (d *Driver) Start(ctx context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(ctx); err != nil {
		return err
	}
	dom, err := d.find(id)
	if err == nil {
		d.set(dom, virt.Running)
	}
	return err
}

// Stop stops the domain at once: there is no guest to ask.
func (d *Driver) Stop(ctx context.Context, id string, _ bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(ctx); err != nil {
		return err
	}
	if dom := d.domains[id]; dom != nil {
		d.set(dom, virt.Stopped)
	}
	return nil
}

// Destroy forgets the domain.
func (d *Driver) Destroy(ctx context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(ctx); err != nil {
		return err
	}
	if d.domains[id] != nil {
		delete(d.domains, id)
		d.changed(id)
	}
	return nil
}

// Attach gives the domain a function.
func (d *Driver) Attach(ctx context.Context, id string, f virt.Function) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(ctx); err != nil {
		return err
	}
	dom, err := d.find(id)
	if err != nil {
		return err
	}
	if err := d.unused(id, f.Address); err != nil {
		return err
	}
	if i := index(dom, f.Address); i >= 0 {
		dom.Functions[i] = f
		return nil
	}
	dom.Functions = append(dom.Functions, f)
	return nil
}

// Detach takes a function from the domain.
func (d *Driver) Detach(ctx context.Context, id, address string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(ctx); err != nil {
		return err
	}
	if dom := d.domains[id]; dom != nil {
		dom.Functions = slices.DeleteFunc(dom.Functions, func(f virt.Function) bool { return f.Address == address })
	}
	return nil
}

// State reads the state of a domain.
func (d *Driver) State(ctx context.Context, id string) (virt.State, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return d.state(id), nil
}

func (d *Driver) state(id string) virt.State {
	if dom := d.domains[id]; dom != nil {
		return dom.state
	}
	return virt.Absent
}

func (d *Driver) set(dom *domain, s virt.State) {
	if dom.state != s {
		dom.state = s
		d.changed(dom.ID)
	}
}

func (d *Driver) changed(id string) {
	for w := range d.watchers {
		w.changed[id] = true
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch calls fn for every domain once, and then for each change, until ctx ends.
func (d *Driver) Watch(ctx context.Context, fn func(virt.Event)) error {
	w := &watcher{changed: map[string]bool{}, wake: make(chan struct{}, 1)}
	d.mu.Lock()
	for id := range d.domains {
		w.changed[id] = true
	}
	d.watchers[w] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.watchers, w)
		d.mu.Unlock()
	}()
	for {
		for _, e := range d.take(w) {
			fn(e)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
	}
}

func (d *Driver) take(w *watcher) []virt.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	events := make([]virt.Event, 0, len(w.changed))
	for _, id := range slices.Sorted(maps.Keys(w.changed)) {
		events = append(events, virt.Event{ID: id, State: d.state(id)})
	}
	clear(w.changed)
	return events
}

// Close does nothing.
func (d *Driver) Close() error { return nil }
