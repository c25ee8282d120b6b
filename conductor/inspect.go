package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// Steps of the engine's own, which no client names.
const (
	inspectStep = "inspect"
	awaitAgent  = "wait_for_agent"
)

// ownSteps are the steps that some flows have without a list of steps: an inspection asks the controller, or waits for the node's agent. A rescue
// needs a ramdisk that riser does not serve: only fake machines can be rescued.
func ownSteps(n *node.Node, kind string) ([]node.Step, error) {
	switch kind {
	case kindInspect:
		switch n.Interfaces[node.Inspect] {
		case "no-inspect":
			return nil, notSupported(n, "inspect")
		case "agent":
			return []node.Step{{Interface: node.Inspect, Step: awaitAgent}}, nil
		}
		return []node.Step{{Interface: node.Inspect, Step: inspectStep}}, nil
	case kindRescue, kindUnresc:
		if n.Interfaces[node.Rescue] != "fake" {
			return nil, notSupported(n, "rescue")
		}
	}
	return nil, nil
}

func notSupported(n *node.Node, what string) error {
	return fault.New(fault.Invalid, "Driver %s does not support %s (disabled or not implemented).", n.Driver, what)
}

// ownDefinition is the definition of one of the engine's own steps, or nil.
func ownDefinition(s node.Step) *step.Definition {
	switch {
	case s.Interface == node.Inspect && s.Step == inspectStep:
		return &step.Definition{Interface: node.Inspect, Name: inspectStep, NoRamdisk: true, Run: inspect, Plan: planned("the inventory is read")}
	case s.Interface == node.Inspect && s.Step == awaitAgent:
		return &step.Definition{
			Interface: s.Interface, Name: awaitAgent, Abortable: true, Plan: planned("nothing: the node's agent reports"),
			Run: func(context.Context, *step.Task) (step.Result, error) { return step.Wait, nil },
		}
	}
	return nil
}

func planned(line string) func(node.Object) []string {
	return func(node.Object) []string { return []string{line} }
}

// inventoryKey is what the step inspect keeps under.
const inventoryKey = "inventory"

// inspect reads the inventory from the machine's controller. A controller that cannot tell is no error.
func inspect(ctx context.Context, t *step.Task) (step.Result, error) {
	conn, err := t.Conn(ctx)
	if err != nil {
		return step.Done, err
	}
	i, ok := driver.As[driver.Inspector](conn)
	if !ok {
		t.Evidence("the controller tells no inventory")
		return step.Done, nil
	}
	found, err := i.Inventory(ctx)
	if err != nil {
		return step.Done, err
	}
	return step.Done, t.Keep(ctx, inventoryKey, found)
}

// inspected records what an inspection found, on the node and as ports.
func (r *run) inspected(ctx context.Context) error {
	found, err := keptInventory(r.steps)
	if err != nil {
		return err
	}
	return r.write(ctx, failpoint.Inventory, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, r.op.Node)
		if err != nil {
			return err
		}
		n.InspectionFinishedAt = tx.Now()
		if found != nil {
			n.Properties = withInventory(n.Properties, found)
			if err := tx.SetInventory(ctx, n.UUID, &node.Inventory{Inventory: asInventory(found)}); err != nil {
				return err
			}
			if err := addPorts(ctx, tx, n, found.MACs); err != nil {
				return err
			}
		}
		return tx.SaveNode(ctx, n)
	})
}

func keptInventory(rows []*store.OpStep) (*driver.Inventory, error) {
	i := slices.IndexFunc(rows, func(s *store.OpStep) bool { return s.Kept[inventoryKey] != nil })
	if i < 0 {
		return nil, nil
	}
	raw, err := json.Marshal(rows[i].Kept[inventoryKey])
	if err != nil {
		return nil, err
	}
	var found driver.Inventory
	return &found, json.Unmarshal(raw, &found)
}

// withInventory returns the properties with what was found, in the words of Ironic's inspection: cpus, cpu_arch, memory_mb, local_gb.
func withInventory(o node.Object, found *driver.Inventory) node.Object {
	largest := int64(0)
	for _, d := range found.Disks {
		largest = max(largest, d.Bytes)
	}
	for _, p := range []struct {
		key   string
		value int
	}{{"cpus", found.Processors}, {"memory_mb", found.MemoryMiB}, {"local_gb", int(largest >> 30)}} {
		if p.value > 0 {
			o = withKey(o, p.key, float64(p.value))
		}
	}
	if found.Arch != "" {
		o = withKey(o, "cpu_arch", found.Arch)
	}
	return o
}

// asInventory is an inventory in the form in which an agent would have reported it.
func asInventory(found *driver.Inventory) node.Object {
	disks, nics := []any{}, []any{}
	for _, d := range found.Disks {
		disks = append(disks, node.Object{"name": d.Name, "serial": d.Serial, "size": float64(d.Bytes)})
	}
	for _, mac := range found.MACs {
		nics = append(nics, node.Object{"mac_address": mac})
	}
	return node.Object{
		"cpu": node.Object{"count": float64(found.Processors), "architecture": found.Arch}, "memory": node.Object{"physical_mb": float64(found.MemoryMiB)},
		"disks": disks, "interfaces": nics, "boot": node.Object{"current_boot_mode": found.BootMode},
		"system_vendor": node.Object{"firmware": node.Object{"version": found.BIOS}},
	}
}

// addPorts adds a port for each address that no port has.
func addPorts(ctx context.Context, tx *store.Tx, n *node.Node, macs []string) error {
	for _, mac := range macs {
		have, err := tx.Ports(ctx, store.PortQuery{Address: mac})
		if err != nil {
			return err
		}
		if len(have) > 0 {
			continue
		}
		p := &node.Port{Record: node.Record{UUID: uuid.NewString()}, NodeUUID: n.UUID, Address: mac, PXEEnabled: true, DynamicAllowed: true}
		if err := tx.InsertPort(ctx, p); err != nil {
			return fmt.Errorf("port %s: %w", mac, err)
		}
	}
	return nil
}
