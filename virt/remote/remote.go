// Package remote is the virt driver for hosts whose agent runs their domains. It writes what a host is to do into the store, where the agent fetches it,
// and waits until the agent has said what became of it. It keeps nothing in memory.
package remote

import (
	"context"
	"errors"
	"slices"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

// Driver is a virt.Driver for one host.
type Driver struct {
	db   *store.DB
	host string
}

var _ virt.Driver = (*Driver)(nil)

// New returns the Driver of a host.
func New(db *store.DB, host string) *Driver { return &Driver{db, host} }

// Name is "remote".
func (d *Driver) Name() string { return "remote" }

// Close does nothing.
func (d *Driver) Close() error { return nil }

// Define has the host know the domain as v says.
func (d *Driver) Define(ctx context.Context, v virt.Domain) error {
	functions := make([]store.DomainFunction, len(v.Functions))
	for i, f := range v.Functions {
		functions[i] = store.DomainFunction(f)
	}
	return d.order(ctx, v.ID, func(tx *store.Tx, dom *store.Domain, known bool) error {
		if err := d.unused(ctx, tx, v.ID, v.Functions...); err != nil {
			return err
		}
		if !known || dom.Want == wire.WantAbsent {
			dom.Want, dom.Hard = wire.WantStopped, false
		}
		dom.Spec = store.DomainSpec{Name: v.Name, VCPUs: v.VCPUs, MemoryMB: v.MemoryMB, Image: v.Image, Functions: functions}
		return nil
	})
}

// unused returns an error when another domain of the host has one of the functions.
func (d *Driver) unused(ctx context.Context, tx *store.Tx, id string, functions ...virt.Function) error {
	list, err := tx.Domains(ctx, store.DomainQuery{Host: d.host})
	for _, other := range list {
		for _, f := range functions {
			has := slices.Contains(other.Spec.Removed, f.Address) && other.Reported < other.Revision
			has = has || slices.ContainsFunc(other.Spec.Functions, func(g store.DomainFunction) bool { return g.Address == f.Address })
			if other.ID != id && has {
				return fault.New(fault.Conflict, "domain %s: function %s belongs to domain %s", id, f.Address, other.ID)
			}
		}
	}
	return err
}

// Start has the host run the domain.
func (d *Driver) Start(ctx context.Context, id string) error {
	return d.order(ctx, id, func(_ *store.Tx, dom *store.Domain, known bool) error {
		if !known || dom.Want == wire.WantAbsent {
			return fault.New(fault.NotFound, "domain %s is not defined on host %s", id, d.host)
		}
		dom.Want, dom.Hard = wire.WantRunning, false
		return nil
	})
}

// Stop has the host stop the domain.
func (d *Driver) Stop(ctx context.Context, id string, hard bool) error {
	return d.order(ctx, id, func(_ *store.Tx, dom *store.Domain, known bool) error {
		if !known {
			return errNothing
		}
		if dom.Want == wire.WantRunning {
			dom.Want = wire.WantStopped
		}
		dom.Hard = hard
		return nil
	})
}

// Destroy has the host forget the domain.
func (d *Driver) Destroy(ctx context.Context, id string) error {
	return d.order(ctx, id, func(_ *store.Tx, dom *store.Domain, known bool) error {
		if !known {
			return errNothing
		}
		dom.Want, dom.Hard = wire.WantAbsent, true
		return nil
	})
}

// Attach has the host give the domain a function.
func (d *Driver) Attach(ctx context.Context, id string, f virt.Function) error {
	return d.order(ctx, id, func(tx *store.Tx, dom *store.Domain, known bool) error {
		if !known || dom.Want == wire.WantAbsent {
			return fault.New(fault.NotFound, "domain %s is not defined on host %s", id, d.host)
		}
		if err := d.unused(ctx, tx, id, f); err != nil {
			return err
		}
		without(&dom.Spec, f.Address)
		dom.Spec.Functions = append(dom.Spec.Functions, store.DomainFunction(f))
		return nil
	})
}

// Detach has the host take a function from the domain.
func (d *Driver) Detach(ctx context.Context, id, address string) error {
	return d.order(ctx, id, func(_ *store.Tx, dom *store.Domain, known bool) error {
		if !known {
			return errNothing
		}
		without(&dom.Spec, address)
		dom.Spec.Removed = append(dom.Spec.Removed, address)
		return nil
	})
}

// without takes a function from what a domain has, and from what is to be taken from it.
func without(s *store.DomainSpec, address string) {
	s.Functions = slices.DeleteFunc(s.Functions, func(f store.DomainFunction) bool { return f.Address == address })
	s.Removed = slices.DeleteFunc(s.Removed, func(a string) bool { return a == address })
}

// State returns what the host's agent last said of the domain.
func (d *Driver) State(ctx context.Context, id string) (virt.State, error) {
	dom, err := d.read(ctx, id)
	if err != nil || dom == nil || dom.State == "" {
		return virt.Absent, err
	}
	return virt.State(dom.State), nil
}

func (d *Driver) read(ctx context.Context, id string) (dom *store.Domain, err error) {
	err = d.db.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Domains(ctx, store.DomainQuery{Host: d.host, ID: id})
		if len(list) > 0 {
			dom = list[0]
		}
		return err
	})
	return dom, err
}

// errNothing ends an order for a domain that is not there, where that is what was wanted.
var errNothing = errors.New("there is nothing to do")

// order gives the domain a new revision, as change says, and waits until the host's agent has carried it out. The error is fault.Unavailable when the
// agent is silent; the order stands then, and is carried out when it is back.
func (d *Driver) order(ctx context.Context, id string, change func(tx *store.Tx, dom *store.Domain, known bool) error) error {
	woken, cancel := d.db.Subscribe(store.TopicDomains(d.host), store.TopicHosts)
	defer cancel()
	var revision int64
	err := d.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Host(ctx, d.host); err != nil {
			return err
		}
		list, err := tx.Domains(ctx, store.DomainQuery{Host: d.host, ID: id, Lock: true})
		if err != nil {
			return err
		}
		dom, known := &store.Domain{Host: d.host, ID: id}, len(list) > 0
		if known {
			dom = list[0]
		}
		if err := change(tx, dom, known); err != nil {
			return err
		}
		err = tx.SaveDomain(ctx, dom)
		revision = dom.Revision
		return err
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	for {
		if done, err := d.became(ctx, id, revision); done || err != nil {
			return err
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// became reports whether a revision of the domain was carried out, or a later one was.
func (d *Driver) became(ctx context.Context, id string, revision int64) (done bool, err error) {
	err = d.db.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Domains(ctx, store.DomainQuery{Host: d.host, ID: id})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			done = true // forgotten by the host
			return nil
		}
		if dom := list[0]; dom.Reported >= revision {
			done = true
			return failure(dom)
		}
		h, err := tx.Host(ctx, d.host)
		if err == nil && !h.Alive {
			err = fault.New(fault.Unavailable, "host %s: its agent is silent since %s", d.host, h.ExpiresAt.Format("2006-01-02T15:04:05Z"))
		}
		return err
	})
	return done, err
}

// kinds are the faults of what an agent calls its failures.
var kinds = map[string]fault.Kind{
	wire.FailedConflict: fault.Conflict, wire.FailedMissing: fault.NotFound, wire.FailedTimeout: fault.Timeout,
}

func failure(dom *store.Domain) error {
	if dom.Error == "" {
		return nil
	}
	if kind, ok := kinds[dom.Kind]; ok {
		return fault.New(kind, "host %s: %s", dom.Host, dom.Error)
	}
	return errors.New("host " + dom.Host + ": " + dom.Error)
}

// Watch calls fn for every domain of the host once, and for each change that its agent tells.
func (d *Driver) Watch(ctx context.Context, fn func(virt.Event)) error {
	woken, cancel := d.db.Subscribe(store.TopicDomains(d.host))
	defer cancel()
	told := map[string]virt.State{}
	for {
		var list []*store.Domain
		err := d.db.Read(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.Domains(ctx, store.DomainQuery{Host: d.host})
			return err
		})
		if err != nil {
			return err
		}
		here := map[string]bool{}
		for _, dom := range list {
			here[dom.ID] = true
			if s := virt.State(dom.State); s != "" && told[dom.ID] != s {
				told[dom.ID] = s
				fn(virt.Event{ID: dom.ID, State: s})
			}
		}
		for id := range told {
			if !here[id] {
				delete(told, id)
				fn(virt.Event{ID: id, State: virt.Absent})
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-woken:
		}
	}
}
