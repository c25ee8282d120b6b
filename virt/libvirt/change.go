package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/virt"
)

// pollTime is between two looks at what a guest was asked to do.
const pollTime = 250 * time.Millisecond

// Define makes the domain known to libvirt, in the place of its earlier definition.
func (d *Driver) Define(ctx context.Context, v virt.Domain) error {
	text, err := d.XML(v)
	if err != nil {
		return err
	}
	d.defining.Lock()
	defer d.defining.Unlock()
	return d.do(ctx, "define domain "+v.ID, func(rpc *libvirt.Libvirt) error {
		if _, err := lookup(rpc, v.ID); err != nil && code(err) != libvirt.ErrNoDomain {
			return err
		}
		if err := unused(rpc, v.ID, v.Functions...); err != nil {
			return err
		}
		_, err := rpc.DomainDefineXMLFlags(text, 0)
		return err
	})
}

// unused returns an error when another domain has one of the functions, now or with its next start.
func unused(rpc *libvirt.Libvirt, id string, functions ...virt.Function) error {
	if len(functions) == 0 {
		return nil
	}
	list, _, err := rpc.ConnectListAllDomains(1, 0)
	if err != nil {
		return err
	}
	for _, dom := range list {
		for _, next := range []bool{true, false} {
			x, err := document(rpc, dom, next)
			if code(err) == libvirt.ErrNoDomain {
				break // it has gone meanwhile
			}
			if err != nil {
				return err
			}
			for _, f := range functions {
				if x.UUID != id && holds(x, f.Address) {
					return fault.New(fault.Conflict, "domain %s: function %s belongs to domain %s (%s)", id, f.Address, dom.Name, x.UUID)
				}
			}
		}
	}
	return nil
}

// Start runs the domain.
func (d *Driver) Start(ctx context.Context, id string) error {
	return d.within(ctx, "start", id, func(rpc *libvirt.Libvirt, dom libvirt.Domain) error {
		if s, err := stateOf(rpc, dom); err != nil || s == virt.Running {
			return err
		}
		err := rpc.DomainCreate(dom)
		if s, again := stateOf(rpc, dom); err != nil && again == nil && s == virt.Running {
			return nil // somebody else has started it
		}
		return err
	})
}

// Stop stops the domain: by ACPI, and when hard is set by pulling the plug.
func (d *Driver) Stop(ctx context.Context, id string, hard bool) error {
	err := d.within(ctx, "stop", id, func(rpc *libvirt.Libvirt, dom libvirt.Domain) error {
		s, err := stateOf(rpc, dom)
		switch {
		case err != nil || !live(s):
			return err
		case hard:
			return stopped(rpc, dom, rpc.DomainDestroyFlags(dom, 0))
		}
		return stopped(rpc, dom, rpc.DomainShutdownFlags(dom, 0))
	})
	if err != nil || hard {
		return absent(err)
	}
	return d.await(ctx, "domain "+id+" was asked to stop and has not", func() (bool, error) {
		s, err := d.State(ctx, id)
		return !live(s), err
	})
}

// stopped passes over the refusal to stop what has just stopped by itself.
func stopped(rpc *libvirt.Libvirt, dom libvirt.Domain, err error) error {
	if code(err) == libvirt.ErrOperationInvalid {
		if s, again := stateOf(rpc, dom); again == nil && !live(s) {
			return nil
		}
	}
	return err
}

// absent passes over a domain that is not there.
func absent(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// await waits until done says so. The error is fault.Timeout when ctx ends before.
func (d *Driver) await(ctx context.Context, what string, done func() (bool, error)) error {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fault.New(fault.Timeout, "libvirt: %s", what)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Destroy stops the domain and forgets it.
func (d *Driver) Destroy(ctx context.Context, id string) error {
	if err := d.Stop(ctx, id, true); err != nil {
		return err
	}
	return absent(d.within(ctx, "undefine", id, func(rpc *libvirt.Libvirt, dom libvirt.Domain) error {
		return rpc.DomainUndefineFlags(dom, libvirt.DomainUndefineManagedSave|libvirt.DomainUndefineSnapshotsMetadata)
	}))
}

// Attach gives the domain a function: now if it runs, and for its next start.
func (d *Driver) Attach(ctx context.Context, id string, f virt.Function) error {
	device, err := hostdev(f)
	if err != nil {
		return err
	}
	text, err := device.Marshal()
	if err != nil {
		return err
	}
	d.defining.Lock()
	defer d.defining.Unlock()
	return d.within(ctx, "attach "+f.Address+" to", id, func(rpc *libvirt.Libvirt, dom libvirt.Domain) error {
		if err := unused(rpc, id, f); err != nil {
			return err
		}
		err := redefine(rpc, dom, func(x *libvirtxml.Domain) bool {
			if holds(x, f.Address) {
				return false
			}
			x.Devices.Interfaces = append(x.Devices.Interfaces, device)
			return true
		})
		if err != nil {
			return err
		}
		missing, err := runsWith(rpc, dom, f.Address, false)
		if err != nil || !missing {
			return err
		}
		return rpc.DomainAttachDeviceFlags(dom, text, uint32(libvirt.DomainAffectLive))
	})
}

// Detach takes a function from the domain, and returns when the guest has let go of it.
func (d *Driver) Detach(ctx context.Context, id, address string) error {
	var asked bool
	err := d.within(ctx, "detach "+address+" from", id, func(rpc *libvirt.Libvirt, dom libvirt.Domain) error {
		err := redefine(rpc, dom, func(x *libvirtxml.Domain) bool {
			before := len(x.Devices.Interfaces)
			x.Devices.Interfaces = slices.DeleteFunc(x.Devices.Interfaces, func(i libvirtxml.DomainInterface) bool { return addressOf(&i) == address })
			return len(x.Devices.Interfaces) < before
		})
		if err != nil {
			return err
		}
		if asked, err = runsWith(rpc, dom, address, true); err != nil || !asked {
			return err
		}
		return detachLive(rpc, dom, address)
	})
	if err != nil || !asked {
		return absent(err)
	}
	return d.await(ctx, fmt.Sprintf("the guest of domain %s does not let go of %s", id, address), func() (bool, error) {
		var still bool
		err := d.within(ctx, "look at", id, func(rpc *libvirt.Libvirt, dom libvirt.Domain) (err error) {
			still, err = runsWith(rpc, dom, address, true)
			return err
		})
		return !still, absent(err)
	})
}

func detachLive(rpc *libvirt.Libvirt, dom libvirt.Domain, address string) error {
	x, err := document(rpc, dom, false)
	if err != nil {
		return err
	}
	for i := range x.Devices.Interfaces {
		if addressOf(&x.Devices.Interfaces[i]) != address {
			continue
		}
		text, err := x.Devices.Interfaces[i].Marshal()
		if err != nil {
			return err
		}
		err = rpc.DomainDetachDeviceFlags(dom, text, uint32(libvirt.DomainAffectLive))
		if code(err) == libvirt.ErrDeviceMissing {
			return nil // the guest has let go of it just now
		}
		return err
	}
	return nil
}

// redefine changes what the domain is with its next start, if change changes it.
func redefine(rpc *libvirt.Libvirt, dom libvirt.Domain, change func(*libvirtxml.Domain) bool) error {
	x, err := document(rpc, dom, true)
	if err != nil {
		return err
	}
	if x.Devices == nil {
		x.Devices = &libvirtxml.DomainDeviceList{}
	}
	if !change(x) {
		return nil
	}
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	_, err = rpc.DomainDefineXMLFlags(text, 0)
	return err
}

// runsWith reports whether the domain runs and has the function, or has it not, as held says.
func runsWith(rpc *libvirt.Libvirt, dom libvirt.Domain, address string, held bool) (bool, error) {
	if s, err := stateOf(rpc, dom); err != nil || !live(s) {
		return false, err
	}
	x, err := document(rpc, dom, false)
	return err == nil && holds(x, address) == held, err
}
