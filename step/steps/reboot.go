package steps

import (
	"context"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

var reboot = step.Definition{
	Interface: node.Power, Name: "reboot", Flows: flows, NoRamdisk: true, ResetCard: true,
	Summary: "Restart the node. Where the controller has no restart, its power is cut and given again.",
	Plan:    plan("ForceRestart; without it PowerCycle; without both ForceOff, a pause, On"),
	Verify: func(ctx context.Context, t *step.Task, sent time.Time) (bool, error) {
		return driver.RestartSeen(ctx, t.Conn, sent)
	},
	Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
		return step.Done, t.Power(ctx, node.Rebooting)
	},
}
