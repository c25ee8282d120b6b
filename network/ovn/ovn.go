// Package ovn is the network backend that writes OVN's northbound database itself.
//
// A network is a logical switch named riser-<network id>, and a port is a logical switch port whose name is the port's id, as ovn-controller finds it
// by an interface's iface-id. A bound port has options:requested-chassis with the host name of the card's own Linux, which alone may claim it.
//
// Where riser's agent plugs, a bound port also has options:iface-id-ver with the generation of the order, and the agent writes the same on the
// interface: OVN claims nothing that an older order has plugged. An unbound port has a version that no interface has, so that OVN lets go of it at
// once, even while the DPU is out of reach. Where ovn-controller plugs, the options are vif-plug-* of ovn-nb(5) and of the representor provider; an
// unbound port then requests a chassis that does not exist, since ovn-controller unplugs for no other reason.
package ovn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/ovsdb"
)

// Options says where OVN is.
type Options struct {
	// Endpoint is the northbound database: "unix:/path" or "tcp:host:port", or several servers of one cluster, separated by commas.
	Endpoint string
	// Log receives a line when the connection is lost or made; nil for none.
	Log *slog.Logger
}

// Backend is a network.Backend on an OVN_Northbound database. It is safe for concurrent use.
type Backend struct{ nb *ovsdb.Northbound }

var _ network.Backend = (*Backend)(nil)

// Open returns a Backend on the database. It does not wait for OVN: while that is away, each call is fault.Unavailable, and the connection is made as
// soon as the server is there. The error is that of an endpoint that cannot be read.
func Open(o Options) (*Backend, error) {
	nb, err := ovsdb.OpenNorthbound(ovsdb.Config{Endpoint: o.Endpoint, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("OVN northbound database: %w", err)
	}
	return &Backend{nb}, nil
}

// Name is "ovn".
func (b *Backend) Name() string { return "ovn" }

// Healthy returns nil while the connection to the database is in order, and else fault.Unavailable with the reason.
func (b *Backend) Healthy() error { return kinded(b.nb.Healthy()) }

// Close ends the connection.
func (b *Backend) Close() error { return b.nb.Close() }

// kinded gives an error of the database the kind that a caller acts on.
func kinded(err error) error {
	var foreign *ovsdb.ForeignError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ovsdb.ErrNotFound):
		return fault.New(fault.NotFound, "OVN: %w", err)
	case errors.Is(err, ovsdb.ErrInUse), errors.Is(err, ovsdb.ErrOldGeneration), errors.As(err, &foreign):
		return fault.New(fault.Conflict, "OVN: %w", err)
	case errors.Is(err, ovsdb.ErrNotConnected), errors.Is(err, ovsdb.ErrStale), errors.Is(err, ovsdb.ErrConflict):
		return fault.New(fault.Unavailable, "OVN: %w", err)
	}
	return fmt.Errorf("OVN: %w", err)
}

// State reads whether the port is bound, and claimed by the chassis that it is bound to.
func (b *Backend) State(_ context.Context, id string) (network.State, error) {
	p, err := b.nb.Port(id)
	if err != nil {
		return network.State{}, kinded(err)
	}
	return stateOf(p), nil
}

func stateOf(p ovsdb.PortState) network.State {
	s := network.State{Port: p.Name}
	chassis := p.Options[ovsdb.OptionRequestedChassis]
	switch {
	case !bound(p.LogicalPort):
		s.Reason = "the port is not bound"
	case p.Disabled:
		s.Reason = "the port is administratively down"
	case !p.Up && p.Options[ovsdb.OptionPlugType] != "":
		s.Reason = fmt.Sprintf("ovn-controller on chassis %s has not plugged and claimed the port", chassis)
	case !p.Up:
		s.Reason = fmt.Sprintf("ovn-controller on chassis %s has not claimed the port", chassis)
	default:
		s.Up = true
	}
	return s
}

// Watch tells of each port of riser's once at the start and after each reconnection, and then of each change, until ctx ends.
func (b *Backend) Watch(ctx context.Context, fn func(network.State)) error {
	r := reader{nb: b.nb}
	return b.nb.WatchPorts(ctx, func(e ovsdb.PortEvent) {
		switch p, ok := r.read(e); {
		case strings.HasPrefix(e.Name, localnetPrefix):
		case e.Gone:
			fn(network.State{Port: e.Name, Reason: "OVN has no such port any more"})
		case ok:
			fn(stateOf(p))
		}
	})
}

// burst is how many ports in a row are read alone before all are read at once, for there may be an event for each of them.
const burst = 64

// reader reads the ports that events are about.
type reader struct {
	nb    *ovsdb.Northbound
	seen  map[string]ovsdb.PortState // read and not used yet
	alone int
}

// read returns the port of an event. It is not there if it is gone by now, which is an event of its own, or if the connection is, and then all is
// told anew.
func (r *reader) read(e ovsdb.PortEvent) (ovsdb.PortState, bool) {
	if e.Gone {
		return ovsdb.PortState{}, false
	}
	if r.alone == burst {
		r.alone, r.seen = 0, map[string]ovsdb.PortState{}
		list, err := r.nb.Ports()
		if err != nil {
			return ovsdb.PortState{}, false
		}
		for _, p := range list {
			r.seen[p.Name] = p
		}
	}
	p, ok := r.seen[e.Name]
	delete(r.seen, e.Name)
	if ok && p.Up == e.Up && p.Generation == e.Generation {
		return p, true
	}
	r.alone++
	p, err := r.nb.Port(e.Name)
	return p, err == nil
}
