package steps

import (
	"context"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

var hold = step.Definition{
	Interface: node.Power, Name: "hold", Flows: flows, NoRamdisk: true, Abortable: true,
	Summary: "Stop the flow until an operator says unhold.",
	Plan:    plan("nothing: the flow stops until an operator says unhold"),
	Run:     func(context.Context, *step.Task) (step.Result, error) { return step.Hold, nil },
}
