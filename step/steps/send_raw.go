package steps

import (
	"context"
	"fmt"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// sendRaw is relative: what a raw command does is not known here, so it is sent at most once.
var sendRaw = step.Definition{
	Interface: node.Vendor, Name: "send_raw", Impls: []string{"ipmitool", "bluefield"}, Flows: flows, NoRamdisk: true,
	Summary: "Send a raw IPMI command to the node's controller.",
	Args: []step.Arg{{
		Name: "raw_bytes", Description: `Network function, command and data, such as "0x00 0x01".`, Required: true,
		Check: func(v any) error { _, err := driver.ParseRaw(v); return err },
	}},
	Plan: func(args node.Object) []string { return []string{fmt.Sprintf("raw %v", args["raw_bytes"])} },
	Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
		request, err := driver.ParseRaw(t.Args["raw_bytes"])
		if err != nil {
			return step.Done, err
		}
		r, err := ability[driver.Raw](ctx, t, "raw commands")
		if err != nil {
			return step.Done, err
		}
		answer, err := r.SendRaw(ctx, request)
		if err != nil {
			return step.Done, err
		}
		t.Evidence(fmt.Sprintf("raw %s answered [%s]", driver.FormatRaw(request), driver.FormatRaw(answer)))
		return step.Done, nil
	},
}
