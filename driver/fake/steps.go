package fake

import (
	"context"
	"fmt"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// Steps lists the steps of nodes with fake interfaces.
func Steps() []step.Definition {
	clean, service := []node.Flow{node.FlowClean}, []node.Flow{node.FlowService}
	settings := []step.Arg{{Name: "settings", Description: "List of settings to apply.", Required: true, Check: isList}}
	list := []step.Definition{
		{Interface: node.Deploy, Name: "deploy", Flows: []node.Flow{node.FlowDeploy}, Priority: 100, Summary: "Deploy nothing."},
		{Interface: node.Vendor, Name: "log_passthrough", Flows: []node.Flow{node.FlowClean, node.FlowService}, Priority: 1,
			Summary: "Record that the step ran."},
		{Interface: node.Vendor, Name: "trigger_servicewait", Flows: service, Summary: "Wait until the node's agent reports, or the flow is aborted.",
			Run: waitForAgent},
		{Interface: node.BIOS, Name: "apply_configuration", Flows: clean, Args: settings, Summary: "Apply no BIOS settings."},
		{Interface: node.BIOS, Name: "factory_reset", Flows: clean, Summary: "Reset no BIOS settings."},
		{Interface: node.BIOS, Name: "cache_bios_settings", Flows: clean, Summary: "Read no BIOS settings."},
		{Interface: node.Firmware, Name: "update", Flows: clean, Args: settings, Summary: "Update no firmware."},
	}
	for i := range list {
		d := &list[i]
		d.Impls, d.NoRamdisk, d.Abortable = []string{"fake"}, true, d.Run != nil
		d.Plan = func(node.Object) []string { return []string{"nothing: the machine is a fake"} }
		if d.Run == nil {
			d.Run = take(d.Interface, d.FullName())
		}
	}
	return list
}

// take is a step that takes the delay of its interface.
func take(kind node.Interface, name string) func(context.Context, *step.Task) (step.Result, error) {
	return func(ctx context.Context, t *step.Task) (step.Result, error) {
		c, err := t.Conn(ctx)
		if err != nil {
			return step.Done, err
		}
		fake, ok := driver.As[*Conn](c)
		if !ok {
			return step.Done, fault.New(fault.Unsupported, "step %s is for fake machines", name)
		}
		if err := fake.pause(ctx, kind); err != nil {
			return step.Done, err
		}
		t.Evidence(name + " ran on a fake machine")
		return step.Done, nil
	}
}

func waitForAgent(context.Context, *step.Task) (step.Result, error) { return step.Wait, nil }

func isList(v any) error {
	if _, ok := v.([]any); !ok {
		return fmt.Errorf("must be a list")
	}
	return nil
}
