package libvirt

import (
	"context"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/virt"
)

// live reports whether a domain in this state has its functions.
func live(s virt.State) bool { return s == virt.Running || s == virt.Paused }

func stateOf(rpc *libvirt.Libvirt, dom libvirt.Domain) (virt.State, error) {
	n, reason, err := rpc.DomainGetState(dom, 0)
	if err != nil {
		return "", err
	}
	switch libvirt.DomainState(n) {
	case libvirt.DomainRunning, libvirt.DomainBlocked, libvirt.DomainShutdown:
		return virt.Running, nil // a guest that shuts down still has its functions
	case libvirt.DomainPaused, libvirt.DomainPmsuspended:
		return virt.Paused, nil
	case libvirt.DomainCrashed:
		return virt.Crashed, nil
	}
	if libvirt.DomainShutoffReason(reason) == libvirt.DomainShutoffCrashed {
		return virt.Crashed, nil
	}
	return virt.Stopped, nil
}

// State reads the state of a domain.
func (d *Driver) State(ctx context.Context, id string) (virt.State, error) {
	s := virt.Absent
	err := d.within(ctx, "read the state of", id, func(rpc *libvirt.Libvirt, dom libvirt.Domain) (err error) {
		s, err = stateOf(rpc, dom)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return virt.Absent, nil
	}
	return s, err
}

// reconnectTime is between two tries to reach libvirtd again.
const reconnectTime = time.Second

// Watch calls fn for every domain of riser's once, for each change of one, and for every one again after libvirtd was away.
func (d *Driver) Watch(ctx context.Context, fn func(virt.Event)) error {
	known := map[string]bool{}
	for {
		_ = d.watch(ctx, known, fn) // libvirtd is away; there is nobody to tell but the next try
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectTime):
		}
	}
}

// watch watches over one connection, until it or ctx ends. known has the domains of which fn was told that they are there.
func (d *Driver) watch(ctx context.Context, known map[string]bool, fn func(virt.Event)) error {
	c, err := d.connected(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	events, err := c.rpc.LifecycleEvents(ctx)
	if err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel()
		go func() {
			for range events { // ends when the subscription does: with ctx, or with the connection
			}
		}()
	}()
	if err := d.tellAll(ctx, c, known, fn); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.rpc.Disconnected():
			return fault.New(fault.Unavailable, "libvirt: the connection has ended")
		case e, ok := <-events:
			if !ok {
				return fault.New(fault.Unavailable, "libvirt: the events have ended")
			}
			if strings.HasPrefix(e.Dom.Name, prefix) {
				if err := d.tell(ctx, uuid.UUID(e.Dom.UUID).String(), known, fn); err != nil {
					return err
				}
			}
		}
	}
}

func (d *Driver) tellAll(ctx context.Context, c *conn, known map[string]bool, fn func(virt.Event)) error {
	list, _, err := c.rpc.ConnectListAllDomains(1, 0)
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for id := range known {
		ids[id] = true
	}
	for _, dom := range list {
		if strings.HasPrefix(dom.Name, prefix) {
			ids[uuid.UUID(dom.UUID).String()] = true
		}
	}
	for id := range ids {
		if err := d.tell(ctx, id, known, fn); err != nil {
			return err
		}
	}
	return nil
}

// tell calls fn with the state of a domain as it is now, which may be newer than the event that caused it.
func (d *Driver) tell(ctx context.Context, id string, known map[string]bool, fn func(virt.Event)) error {
	s, err := d.State(ctx, id)
	if err != nil {
		return err
	}
	if known[id] = s != virt.Absent; !known[id] {
		delete(known, id)
	}
	fn(virt.Event{ID: id, State: s})
	return nil
}
