package steps

import (
	"context"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

var powerOn = step.Definition{
	Interface: node.Power, Name: "power_on", Flows: flows, NoRamdisk: true,
	Summary: "Power the node on, and its parent first when the node draws its power from there.",
	Plan:    plan("On, unless power is on already"),
	Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
		return step.Done, t.Power(ctx, node.PowerOn)
	},
}
