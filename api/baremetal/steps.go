package baremetal

import (
	"encoding/json"
	"strings"

	"github.com/riser-project/riser/node"
)

// stepList shows steps as the API does: a template's with priority, a runbook's with order.
func stepList(steps []node.Step, ranked string) []any {
	list := make([]any, len(steps))
	for i, s := range steps {
		args := s.Args
		if args == nil {
			args = object{}
		}
		o := object{"interface": string(s.Interface), "step": s.Step, "args": args}
		switch ranked {
		case "priority":
			o["priority"] = float64(s.Priority)
		case "order":
			o["order"] = float64(s.Order)
		}
		if s.OnChildren {
			o["execute_on_child_nodes"] = true
		}
		if len(s.LimitToChildren) > 0 {
			limit := make([]any, len(s.LimitToChildren))
			for j, ref := range s.LimitToChildren {
				limit[j] = ref
			}
			o["limit_child_node_execution"] = limit
		}
		list[i] = o
	}
	return list
}

// stepsField is a field that holds steps. ranked is the key that orders them.
func stepsField[T any](ranked string, needed []string, p func(*T) *[]node.Step) field[T] {
	parse := func(v any) ([]node.Step, []string) {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, []string{"steps cannot be read"} // cannot be: v came from JSON
		}
		return node.ParseSteps("steps", raw, needed...)
	}
	return field[T]{
		name: "steps", since: 1, when: always, must: true,
		check: func(v any) string {
			steps, faults := parse(v)
			if twice := repeated(steps); len(faults) == 0 && twice != "" && ranked == "priority" {
				faults = []string{"duplicate step " + twice}
			}
			return strings.Join(faults, "; ")
		},
		get: func(v *T) any { return stepList(*p(v), ranked) },
		set: func(v *T, value any) { *p(v), _ = parse(value) },
	}
}
