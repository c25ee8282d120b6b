package conductor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// rackSteps are steps of the machines of a rack, each with a trait that real ones have.
func rackSteps() []step.Definition {
	all := []node.Flow{node.FlowClean, node.FlowDeploy, node.FlowService}
	list := []step.Definition{
		{Name: "patient", Run: func(context.Context, *step.Task) (step.Result, error) { return step.Wait, nil }},
		{Name: "panics", Run: func(context.Context, *step.Task) (step.Result, error) { panic("at the disco") }},
		{Name: "configure", Run: configure, Poll: configured, Abortable: true},
		{Name: "update", Run: update(0), Poll: update(1)},
		{Name: "log_in", Args: []step.Arg{{Name: "password"}}, Run: func(_ context.Context, t *step.Task) (step.Result, error) {
			t.Evidence(fmt.Sprintf("tried %v and %v", t.Args["password"], t.Node.DriverInfo["rack_password"]))
			return step.Done, fault.New(fault.Unauthorized, "the machine does not know %v", t.Args["password"])
		}},
		{Name: "in_ramdisk", Run: func(context.Context, *step.Task) (step.Result, error) { return step.Done, nil }},
		{Name: "late", Priority: 10, Run: noted("late")},
		{Name: "early", Priority: 90, Run: noted("early")},
	}
	for i := range list {
		d := &list[i]
		d.Interface, d.Impls, d.Flows, d.NoRamdisk = node.Management, []string{"rack"}, all, d.Name != "in_ramdisk"
		if d.Priority > 0 {
			d.Interface, d.Impls, d.Flows = node.Deploy, []string{"rack"}, []node.Flow{node.FlowDeploy}
		}
	}
	return list
}

// noted is a step that leaves a mark on the machine.
func noted(text string) func(context.Context, *step.Task) (step.Result, error) {
	return func(ctx context.Context, t *step.Task) (step.Result, error) {
		c, err := rackOf(ctx, t)
		if err != nil {
			return step.Done, err
		}
		return step.Done, c.arrive(ctx, driver.Absolute, text, func(*machine) {})
	}
}

func rackOf(ctx context.Context, t *step.Task) (*rackConn, error) {
	c, err := t.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return c.(*rackConn), nil
}

// configure sets something that takes a restart, and waits until it is in force: commands of both classes in one step.
func configure(ctx context.Context, t *step.Task) (step.Result, error) {
	c, err := rackOf(ctx, t)
	if err != nil {
		return step.Done, err
	}
	if err := c.SetBootDevice(ctx, "pxe", false); err != nil {
		return step.Done, err
	}
	if t.Kept("restarted") == nil {
		if err := t.Power(ctx, node.Rebooting); err != nil {
			return step.Done, err
		}
		if err := t.Keep(ctx, "restarted", true); err != nil {
			return step.Done, err
		}
	}
	return step.Wait, nil
}

func configured(ctx context.Context, t *step.Task) (step.Result, error) {
	c, err := rackOf(ctx, t)
	if err != nil {
		return step.Wait, err
	}
	if device, _, err := c.BootDevice(ctx); err != nil || device != "pxe" {
		return step.Wait, err
	}
	return step.Done, nil
}

// update sends relative commands one after the other, each when the one before is done, and keeps how far it is.
func update(least int) func(context.Context, *step.Task) (step.Result, error) {
	return func(ctx context.Context, t *step.Task) (step.Result, error) {
		c, err := rackOf(ctx, t)
		if err != nil {
			return step.Done, err
		}
		done := 0
		switch n := t.Kept("done").(type) {
		case int:
			done = n
		case float64:
			done = int(n)
		}
		if done == 3 || done < least {
			return step.Done, nil
		}
		err = c.arrive(ctx, driver.Relative, "update", func(*machine) {})
		if err != nil {
			return step.Done, err
		}
		return step.Wait, t.Keep(ctx, "done", done+1)
	}
}

// gate makes the next commands of a machine wait until they are let through.
func (b *bench) gate(name string) *machine {
	m := b.rack.machines[name]
	b.rack.with(func() { m.gate, m.entered = make(chan struct{}), make(chan struct{}, 10) })
	return m
}

// open lets the command that waits at the gate through, and all after it.
func (b *bench) open(m *machine) {
	gate := m.gate
	b.rack.with(func() { m.gate = nil })
	gate <- struct{}{}
}

// crashAt lets commands through until the nth of the machine has arrived, and stops the conductor before its answer comes.
func (b *bench) crashAt(m *machine, nth int) {
	b.t.Helper()
	for {
		select {
		case <-m.entered:
		case <-time.After(10 * time.Second):
			b.t.Fatalf("%s did not receive command %d", m.address, nth)
		}
		if len(b.rack.commands(m.address)) >= nth {
			break
		}
		m.gate <- struct{}{}
	}
	b.stop()
	b.rack.with(func() { m.gate = nil })
}
