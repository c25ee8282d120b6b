package steps

import (
	"context"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

var powerOff = step.Definition{
	Interface: node.Power, Name: "power_off", Flows: flows, NoRamdisk: true, ResetCard: true,
	Summary: "Cut the node's power, after that of the children that draw it from the node.",
	Plan:    plan("ForceOff, unless power is off already"),
	Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
		return step.Done, t.Power(ctx, node.PowerOff)
	},
}
