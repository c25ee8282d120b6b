package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

var setBootDevice = step.Definition{
	Interface: node.Management, Name: "set_boot_device", Flows: flows, NoRamdisk: true,
	Summary: "Set the device of the node's next boot.",
	Args: []step.Arg{
		{Name: "device", Description: "pxe, disk, cdrom, bios or another device that the machine has.", Required: true, Check: isName},
		{Name: "persistent", Description: "true to keep the device for later boots. Default false.", Check: isBool},
	},
	Plan: func(args node.Object) []string {
		return []string{fmt.Sprintf("boot device %v, %s", args["device"], lasting(args))}
	},
	Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
		b, err := ability[driver.BootDevice](ctx, t, "boot devices")
		if err != nil {
			return step.Done, err
		}
		device, _ := t.Args["device"].(string)
		has, err := b.BootDevices(ctx)
		if err != nil {
			return step.Done, err
		}
		if !slices.Contains(has, device) {
			return step.Done, fault.New(fault.Invalid, "Invalid boot device %s specified. The node has %s", device, strings.Join(has, ", "))
		}
		if err := b.SetBootDevice(ctx, device, lasting(t.Args) == always); err != nil {
			return step.Done, err
		}
		t.Evidence(fmt.Sprintf("boot device is %s, %s", device, lasting(t.Args)))
		return step.Done, nil
	},
}

const (
	always = "for every boot"
	once   = "for the next boot"
)

func lasting(args node.Object) string {
	if v, ok := args["persistent"]; ok {
		if b, err := node.ParseBool(v); err == nil && b {
			return always
		}
	}
	return once
}

func isName(v any) error {
	if s, ok := v.(string); !ok || s == "" {
		return fmt.Errorf("%v is not a name", v)
	}
	return nil
}

func isBool(v any) error {
	_, err := node.ParseBool(v)
	return err
}
