package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// maxWait is the longest time that the step itself waits: it keeps a worker busy.
const maxWait = 30 * time.Second

var wait = step.Definition{
	Interface: node.Power, Name: "wait", Flows: flows, NoRamdisk: true, Abortable: true,
	Summary: "Wait a number of seconds, or without one until the node's agent reports.",
	Args: []step.Arg{{
		Name: "seconds", Description: "How long to wait; at most 30 s count. Without it the flow goes on at the next heartbeat of the node's agent.",
		Check: func(v any) error { _, err := seconds(v); return err },
	}},
	Plan: func(args node.Object) []string {
		v, ok := args["seconds"]
		if !ok {
			return []string{"nothing: the flow goes on when the node's agent reports"}
		}
		return []string{fmt.Sprintf("nothing: the flow goes on after %v s", v)}
	},
	Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
		v, ok := t.Args["seconds"]
		if !ok {
			return step.Wait, nil
		}
		asked, err := seconds(v)
		if err != nil {
			return step.Done, fault.New(fault.Invalid, "argument seconds: %w", err)
		}
		d := min(asked, maxWait)
		if d < asked {
			t.Evidence(fmt.Sprintf("waiting %s instead of %s: a longer wait is cut", d, asked))
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return step.Done, nil
		case <-ctx.Done():
			return step.Done, fault.New(fault.Timeout, "the wait of %s was interrupted: %w", d, context.Cause(ctx))
		}
	},
}

// seconds reads a number of seconds, 0 or more, from JSON or text.
func seconds(v any) (time.Duration, error) {
	n := -1.0
	switch v := v.(type) {
	case float64:
		n = v
	case int:
		n = float64(v)
	case json.Number:
		n = number(v.String())
	case string:
		n = number(v)
	}
	if !(n >= 0 && n <= 1e9) {
		return 0, fmt.Errorf("%v is not a number of seconds, 0 or more", v)
	}
	return time.Duration(n * float64(time.Second)), nil
}

func number(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return -1
	}
	return n
}
