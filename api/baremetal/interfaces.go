package baremetal

import (
	"context"
	"maps"
	"slices"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// supported returns the implementations that a hardware type has for a kind of interface, best first. A type that does not speak of a kind has
// the implementation that does nothing.
func (s *service) supported(driverName string, kind node.Interface) []string {
	d, ok := s.intake.Drivers[driverName]
	if !ok {
		return nil
	}
	if list := d.Interfaces()[kind]; len(list) > 0 {
		return list
	}
	switch kind {
	case node.BIOS, node.Console, node.Firmware, node.Inspect, node.RAID, node.Rescue, node.Vendor:
		return []string{"no-" + string(kind)}
	}
	return []string{"noop"}
}

func (s *service) enabled(kind node.Interface, impl string) bool {
	list, limited := s.cfg.EnabledInterfaces[kind]
	return !limited || slices.Contains(list, impl)
}

// offered returns the implementations of a kind that may be chosen at all, sorted.
func (s *service) offered(kind node.Interface) []string {
	if list, limited := s.cfg.EnabledInterfaces[kind]; limited {
		return slices.Sorted(slices.Values(list))
	}
	all := map[string]bool{}
	for name := range s.intake.Drivers {
		for _, impl := range s.supported(name, kind) {
			all[impl] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// defaultInterface returns the implementation that a new node of the hardware type gets, or "" when none may be used.
func (s *service) defaultInterface(driverName string, kind node.Interface) string {
	list := s.supported(driverName, kind)
	if impl := s.cfg.DefaultInterfaces[kind]; impl != "" && slices.Contains(list, impl) {
		return impl
	}
	for _, impl := range list {
		if s.enabled(kind, impl) {
			return impl
		}
	}
	return ""
}

// chooseInterfaces fills in the interfaces that n does not name, and refuses those that its hardware type cannot use.
func (s *service) chooseInterfaces(n *node.Node) error {
	chosen := make(node.Interfaces, len(node.AllInterfaces))
	for _, kind := range node.AllInterfaces {
		impl := n.Interfaces[kind]
		switch {
		case impl == "":
			if impl = s.defaultInterface(n.Driver, kind); impl == "" {
				return invalid("No default %s interface is enabled for hardware type %s.", kind, n.Driver)
			}
		case !slices.Contains(s.offered(kind), impl):
			return invalid("Could not find the following interface in the 'ironic.hardware.interfaces.%s' entrypoint: %s. Valid interfaces are %s.",
				kind, impl, repr(s.offered(kind)))
		case !slices.Contains(s.supported(n.Driver, kind), impl):
			return invalid("%s interface implementation '%s' is not supported by hardware type %s.", kind, impl, n.Driver)
		}
		chosen[kind] = impl
	}
	n.Interfaces = chosen
	return nil
}

// checkServed returns an error unless a live conductor of n's group serves its hardware type.
func (s *service) checkServed(ctx context.Context, tx *store.Tx, n *node.Node) error {
	list, err := tx.Conductors(ctx, aliveFor)
	if err != nil {
		return err
	}
	alive := false
	for _, c := range list {
		if !c.Alive {
			continue
		}
		alive = true
		if c.Group == n.ConductorGroup && slices.Contains(c.Drivers, n.Driver) && s.intake.Drivers[n.Driver] != nil {
			return nil
		}
	}
	if !alive {
		return fault.New(fault.Unavailable, "No conductor is alive: the request cannot be served now. Try again when one is.")
	}
	return invalid("No valid host was found. Reason: No conductor service registered which supports driver %s for conductor group \"%s\". "+
		"Ensure the driver is valid and enabled.", n.Driver, n.ConductorGroup)
}
