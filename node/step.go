package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Flow is the kind of work that runs steps.
type Flow string

// The flows. Verify and Inspect run the driver's own steps only.
const (
	FlowClean   Flow = "clean"
	FlowDeploy  Flow = "deploy"
	FlowService Flow = "service"
	FlowVerify  Flow = "verify"
	FlowInspect Flow = "inspect"
)

// Step names a step that somebody asked for.
type Step struct {
	Interface       Interface `json:"interface"`
	Step            string    `json:"step"`
	Args            Object    `json:"args,omitempty"`
	Priority        int       `json:"priority,omitempty"` // deploy steps: higher runs first, 0 disables
	Order           int       `json:"order,omitempty"`    // runbook steps: lower runs first
	OnChildren      bool      `json:"execute_on_child_nodes,omitempty"`
	LimitToChildren []string  `json:"limit_child_node_execution,omitempty"` // UUIDs, or names as a client wrote them
}

// Name returns the step's full name, "interface.step".
func (s Step) Name() string { return string(s.Interface) + "." + s.Step }

// Reserved reports whether name is one of the steps that the engine itself provides for every node, whatever its driver.
func Reserved(name string) bool {
	switch name {
	case "power_on", "power_off", "reboot", "hold", "wait":
		return true
	}
	return false
}

// StepInterfaces are the interfaces that a client may name in a step.
var StepInterfaces = [...]Interface{BIOS, Deploy, Firmware, Management, Power, RAID, Vendor}

// ParseSteps reads the list of steps that a client sent under key ("clean_steps", "deploy_steps", "service_steps", "steps"). It returns every
// fault it finds, one text each, so that the client can mend them all at once. Unknown keys of a step are faults.
//
// Deploy steps need interface, step, args and priority; runbook steps need interface, step and order; clean and service steps need interface
// and step (Ironic API, steps schemas). All of them may carry execute_on_child_nodes and limit_child_node_execution, which Ironic accepts in
// clean and service steps only.
func ParseSteps(key string, raw json.RawMessage, need ...string) ([]Step, []string) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, []string{fmt.Sprintf("%s must be a list of objects, each with interface and step", key)}
	}
	if len(list) == 0 {
		return nil, []string{fmt.Sprintf("%s must hold at least one step", key)}
	}
	steps := make([]Step, len(list))
	var faults []string
	for i, m := range list {
		for _, f := range parseStep(m, &steps[i], need) {
			faults = append(faults, fmt.Sprintf("%s[%d]: %s", key, i, f))
		}
	}
	return steps, faults
}

func parseStep(m map[string]json.RawMessage, s *Step, need []string) (faults []string) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, k := range append([]string{"interface", "step"}, need...) {
		if _, ok := m[k]; !ok {
			bad("%q is a required property", k)
		}
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		v := m[k]
		switch k {
		case "interface":
			if json.Unmarshal(v, &s.Interface) != nil || !slices.Contains(StepInterfaces[:], s.Interface) {
				bad("interface %s is not one of %s", v, joinInterfaces())
			}
		case "step":
			if json.Unmarshal(v, &s.Step) != nil || s.Step == "" {
				bad("step %s must be a name", v)
			}
		case "args":
			if json.Unmarshal(v, &s.Args) != nil || string(v) == "null" {
				bad("args %s must be an object", v)
			}
		case "priority", "order":
			n, err := parseCount(v)
			if err != nil {
				bad("%s %s must be a whole number, 0 or more", k, v)
			}
			if k == "order" {
				s.Order = n
			} else {
				s.Priority = n
			}
		case "execute_on_child_nodes":
			if json.Unmarshal(v, &s.OnChildren) != nil || string(v) == "null" {
				bad("execute_on_child_nodes %s must be true or false", v)
			}
		case "limit_child_node_execution":
			if json.Unmarshal(v, &s.LimitToChildren) != nil {
				bad("limit_child_node_execution %s must be a list of node UUIDs or names", v)
			}
		default:
			bad("additional properties are not allowed (%q was unexpected)", k)
		}
	}
	if len(s.LimitToChildren) > 0 && !s.OnChildren {
		bad("limit_child_node_execution needs execute_on_child_nodes: true")
	}
	if s.OnChildren && (s.Step == "hold" || s.Step == "wait") {
		bad("step %s cannot run on child nodes: it stops the flow of the node that runs it", s.Step)
	}
	return faults
}

func parseCount(v json.RawMessage) (int, error) {
	text := strings.Trim(string(v), `"`)
	var n int
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, fmt.Errorf("%d is negative", n)
	}
	return n, nil
}

func joinInterfaces() string {
	names := make([]string, len(StepInterfaces))
	for i, f := range StepInterfaces {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}
