package steps

import (
	"context"
	"fmt"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

var setBootMode = step.Definition{
	Interface: node.Management, Name: "set_boot_mode", Flows: flows, NoRamdisk: true,
	Summary: "Set the firmware's boot mode from the next start on.",
	Args: []step.Arg{{Name: "mode", Description: "bios or uefi.", Required: true, Check: func(v any) error {
		if v != "bios" && v != "uefi" {
			return fmt.Errorf("%v is not one of bios, uefi", v)
		}
		return nil
	}}},
	Plan: func(args node.Object) []string { return []string{fmt.Sprintf("boot mode %v", args["mode"])} },
	Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
		b, err := ability[driver.BootMode](ctx, t, "boot modes")
		if err != nil {
			return step.Done, err
		}
		mode, _ := t.Args["mode"].(string)
		if err := b.SetBootMode(ctx, mode); err != nil {
			return step.Done, err
		}
		t.Evidence("boot mode is " + mode + " from the next start on")
		return step.Done, nil
	},
}
