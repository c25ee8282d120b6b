// Package steps has the steps that machines of every hardware type can run: power, boot, raw commands, and the two that stop a flow.
package steps

import (
	"context"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// All lists the steps of this package.
func All() []step.Definition {
	return []step.Definition{powerOn, powerOff, reboot, setBootDevice, setBootMode, sendRaw, hold, wait}
}

var flows = []node.Flow{node.FlowClean, node.FlowDeploy, node.FlowService}

// ability opens the node's connection and returns it as T.
func ability[T any](ctx context.Context, t *step.Task, what string) (T, error) {
	var none T
	c, err := t.Conn(ctx)
	if err != nil {
		return none, err
	}
	v, ok := driver.As[T](c)
	if !ok {
		return none, driver.Unsupported(what)
	}
	return v, nil
}

func plan(lines ...string) func(node.Object) []string {
	return func(node.Object) []string { return lines }
}
