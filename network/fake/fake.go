// Package fake is a network backend that keeps everything in memory: for tests, for the demo, and for a lab whose network nobody controls.
package fake

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// Backend is a network.Backend in memory. A bound port is up at once, unless Manual was called: then Up decides.
type Backend struct {
	mu       sync.Mutex
	manual   bool
	failure  error
	networks map[string]Segment
	groups   map[string]network.SecurityGroup
	ports    map[string]*Port
	watchers map[*watcher]bool
	calls    int
}

// Segment is a network as the backend was told.
type Segment struct {
	network.Network
	Subnets []network.Subnet
}

// Port is a port as the backend was told.
type Port struct {
	network.Port
	Binding *network.Binding // nil while it is unbound
	State   network.State
}

type watcher struct {
	changed map[string]bool
	wake    chan struct{}
}

var _ network.Policies = (*Backend)(nil)

// New returns an empty Backend.
func New() *Backend {
	return &Backend{
		networks: map[string]Segment{}, groups: map[string]network.SecurityGroup{}, ports: map[string]*Port{}, watchers: map[*watcher]bool{},
	}
}

// Name is "fake".
func (b *Backend) Name() string { return "fake" }

// Manual leaves it to Up whether bound ports are up.
func (b *Backend) Manual() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.manual = true
}

// Up says that the control plane has brought a port up or down. The port must be known.
func (b *Backend) Up(port string, up bool, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.ports[port]; p != nil {
		b.set(p, up, reason)
	}
}

// Fail makes every further change fail with err, until it is called with nil.
func (b *Backend) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failure = err
}

// Port returns what the backend was told of a port, and whether it knows it.
func (b *Backend) Port(id string) (Port, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.ports[id]; p != nil {
		return *p, true
	}
	return Port{}, false
}

// Network returns what the backend was told of a network, and whether it knows it.
func (b *Backend) Network(id string) (Segment, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.networks[id]
	return n, ok
}

// Calls returns how many changes the backend was asked for.
func (b *Backend) Calls() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// begin counts a change and returns the failure that was ordered.
func (b *Backend) begin(ctx context.Context) error {
	b.calls++
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.failure
}

// EnsureNetwork makes the network exist as n says.
func (b *Backend) EnsureNetwork(ctx context.Context, n network.Network, subnets []network.Subnet) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.begin(ctx); err != nil {
		return err
	}
	b.networks[n.ID] = Segment{n, slices.Clone(subnets)}
	return nil
}

// RemoveNetwork removes the network. The error is fault.Conflict while it has ports.
func (b *Backend) RemoveNetwork(ctx context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.begin(ctx); err != nil {
		return err
	}
	for _, p := range b.ports {
		if p.NetworkID == id {
			return fault.New(fault.Conflict, "network %s has port %s", id, p.ID)
		}
	}
	delete(b.networks, id)
	return nil
}

// EnsurePort makes the port exist as p says. The error is fault.NotFound when its network or one of its security
// groups does not exist.
func (b *Backend) EnsurePort(ctx context.Context, p network.Port, bound *network.Binding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.begin(ctx); err != nil {
		return err
	}
	if _, ok := b.networks[p.NetworkID]; !ok {
		return fault.New(fault.NotFound, "port %s: network %s does not exist", p.ID, p.NetworkID)
	}
	for _, id := range p.Groups {
		if _, ok := b.groups[id]; !ok {
			return fault.New(fault.NotFound, "port %s: security group %s does not exist", p.ID, id)
		}
	}
	have := b.ports[p.ID]
	if have == nil {
		have = &Port{State: network.State{Port: p.ID, Reason: reasonUnbound}}
		b.ports[p.ID] = have
		b.changed(p.ID)
	}
	have.Port = p
	before := have.Binding
	have.Binding = nil
	if bound != nil {
		copied := *bound
		have.Binding = &copied
	}
	switch {
	case bound == nil:
		b.set(have, false, reasonUnbound)
	case before != nil && *before == *bound:
	case b.manual:
		b.set(have, false, "chassis "+bound.Chassis+" has not claimed the port")
	default:
		b.set(have, true, "")
	}
	return nil
}

// EnsureGroup makes the security group exist as g says.
func (b *Backend) EnsureGroup(ctx context.Context, g network.SecurityGroup) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.begin(ctx); err != nil {
		return err
	}
	g.Rules = slices.Clone(g.Rules)
	b.groups[g.ID] = g
	return nil
}

// RemoveGroup removes the security group. The error is fault.Conflict while ports are in it.
func (b *Backend) RemoveGroup(ctx context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.begin(ctx); err != nil {
		return err
	}
	for _, p := range b.ports {
		if slices.Contains(p.Groups, id) {
			return fault.New(fault.Conflict, "security group %s has port %s", id, p.ID)
		}
	}
	delete(b.groups, id)
	return nil
}

// Group returns what the backend was told of a security group, and whether it knows it.
func (b *Backend) Group(id string) (network.SecurityGroup, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, ok := b.groups[id]
	return g, ok
}

const reasonUnbound = "the port is bound to no chassis"

// RemovePort removes the port.
func (b *Backend) RemovePort(ctx context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.begin(ctx); err != nil {
		return err
	}
	delete(b.ports, id)
	return nil
}

// State reads whether the port is up. The error is fault.NotFound when the backend does not know the port.
func (b *Backend) State(ctx context.Context, id string) (network.State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return network.State{}, err
	}
	if p := b.ports[id]; p != nil {
		return p.State, nil
	}
	return network.State{}, fault.New(fault.NotFound, "port %s is unknown to the network backend", id)
}

func (b *Backend) set(p *Port, up bool, reason string) {
	next := network.State{Port: p.ID, Up: up, Reason: reason}
	if p.State == next {
		return
	}
	p.State = next
	b.changed(p.ID)
}

func (b *Backend) changed(port string) {
	for w := range b.watchers {
		w.changed[port] = true
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch calls fn for every port once, and then for each change, until ctx ends.
func (b *Backend) Watch(ctx context.Context, fn func(network.State)) error {
	w := &watcher{changed: map[string]bool{}, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	for id := range b.ports {
		w.changed[id] = true
	}
	b.watchers[w] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.watchers, w)
		b.mu.Unlock()
	}()
	for {
		for _, s := range b.take(w) {
			fn(s)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
	}
}

// take returns the states of the ports that have changed since the last call, by port.
func (b *Backend) take(w *watcher) []network.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	var states []network.State
	for id := range w.changed {
		if p := b.ports[id]; p != nil {
			states = append(states, p.State)
		}
	}
	clear(w.changed)
	slices.SortFunc(states, func(x, y network.State) int { return strings.Compare(x.Port, y.Port) })
	return states
}

// Close does nothing.
func (b *Backend) Close() error { return nil }
