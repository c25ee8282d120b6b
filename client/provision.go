package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/riser-project/riser/node"
)

// Provision asks for a provision verb.
type Provision struct {
	Target         string      // "manage", "clean", "active" ...: one of node.Verbs
	Steps          []node.Step // of clean, service, active and rebuild
	Runbook        string      // name or UUID, in place of steps
	ConfigDrive    any         // of active and rebuild: text, or an object with meta_data, network_data, user_data, vendor_data
	RescuePassword string
	DisableRamdisk bool // of clean and service
}

// MarshalJSON writes the body of PUT /v1/nodes/{node}/states/provision.
func (p Provision) MarshalJSON() ([]byte, error) {
	body := map[string]any{"target": p.Target}
	switch {
	case len(p.Steps) == 0:
	case p.Target == "clean" || p.Target == "service":
		body[p.Target+"_steps"] = p.Steps
	default:
		body["deploy_steps"] = deploySteps(p.Steps)
	}
	if p.Runbook != "" {
		body["runbook"] = p.Runbook
	}
	if p.ConfigDrive != nil {
		body["configdrive"] = p.ConfigDrive
	}
	if p.RescuePassword != "" {
		body["rescue_password"] = p.RescuePassword
	}
	if p.DisableRamdisk {
		body["disable_ramdisk"] = true
	}
	return json.Marshal(body)
}

// deployStep is a step in which args and priority may not be left out.
type deployStep struct {
	node.Step
	Args     node.Object `json:"args"`
	Priority int         `json:"priority"`
}

func deploySteps(steps []node.Step) []deployStep {
	list := make([]deployStep, len(steps))
	for i, s := range steps {
		list[i] = deployStep{Step: s, Args: s.Args, Priority: s.Priority}
		if s.Args == nil {
			list[i].Args = node.Object{}
		}
	}
	return list
}

// SetProvision asks for a verb and returns as soon as the server has taken it on. WaitProvision waits for its end.
func (c *Client) SetProvision(ctx context.Context, ref string, p Provision) error {
	return c.Do(ctx, http.MethodPut, nodePath(ref, "/states/provision"), p, nil)
}

// Plan is what a verb would do: riser's answer to dry_run.
type Plan struct {
	Steps []PlannedStep `json:"steps"`
}

// PlannedStep is one step on one node.
type PlannedStep struct {
	Seq       int            `json:"seq"`  // position in the list of steps, from 0
	Node      string         `json:"node"` // UUID
	Name      string         `json:"node_name"`
	Interface node.Interface `json:"interface"`
	Step      string         `json:"step"`
	Args      node.Object    `json:"args"`
	Commands  []string       `json:"commands"` // that the node's controller will be sent, in order
	Skipped   string         `json:"skipped"`  // why the step will not run
}

// PlanProvision asks what a verb would do. Nothing is changed. The question is riser's own; Ironic refuses it.
func (c *Client) PlanProvision(ctx context.Context, ref string, p Provision) (*Plan, error) {
	plan := &Plan{}
	return plan, c.Do(ctx, http.MethodPut, nodePath(ref, "/states/provision?dry_run=true"), p, plan)
}

// Operation is work on a node and, through its steps, on the node's children.
type Operation struct {
	UUID      string          `json:"uuid"`
	Node      string          `json:"node_uuid"`
	Kind      string          `json:"kind"`  // clean, deploy, service, verify, power ...
	State     string          `json:"state"` // planned, running, waiting, held, done, failed, aborted
	Error     string          `json:"error"`
	Actor     string          `json:"actor"`
	CreatedAt time.Time       `json:"created_at"`
	StartedAt time.Time       `json:"started_at"`
	EndedAt   time.Time       `json:"ended_at"`
	Steps     []OperationStep `json:"steps"`
}

// OperationStep is one step of an operation on one node.
type OperationStep struct {
	Seq       int            `json:"seq"` // position in the list of steps, from 0
	Node      string         `json:"node_uuid"`
	NodeName  string         `json:"node_name"`
	Interface node.Interface `json:"interface"`
	Step      string         `json:"step"`
	Child     bool           `json:"child"` // on a child of the operation's node
	State     string         `json:"state"` // planned, intent, sent, verified, waiting, done, failed, unknown, skipped
	Attempt   int            `json:"attempt"`
	Error     string         `json:"error"`
	Evidence  []string       `json:"evidence"` // what was observed
	Sent      []Sent         `json:"sent"`
	StartedAt time.Time      `json:"started_at"`
	EndedAt   time.Time      `json:"ended_at"`
}

// Sent is a command that left for a controller.
type Sent struct {
	Text     string    `json:"text"`
	At       time.Time `json:"at"`
	Attempt  int       `json:"attempt"`
	Relative bool      `json:"relative"` // it is sent at most once, whatever happens
}

// Name returns the step's full name, "interface.step".
func (s *OperationStep) Name() string { return string(s.Interface) + "." + s.Step }

// Label returns the name of the step's node, else its UUID.
func (s *OperationStep) Label() string {
	if s.NodeName != "" {
		return s.NodeName
	}
	return s.Node
}

// Final reports whether the step has ended.
func (s *OperationStep) Final() bool {
	switch s.State {
	case "done", "failed", "unknown", "skipped":
		return true
	}
	return false
}

// Took returns how long the step ran, or 0 while it does.
func (s *OperationStep) Took() time.Duration { return between(s.StartedAt, s.EndedAt) }

// Took returns how long the operation ran, or 0 while it does.
func (o *Operation) Took() time.Duration { return between(o.StartedAt, o.EndedAt) }

func between(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return to.Sub(from)
}

// Operations returns the newest operations on a node, newest first: limit of them, or all that the server keeps when limit is 0.
func (c *Client) Operations(ctx context.Context, ref string, limit int) ([]Operation, error) {
	return List[Operation](ctx, c, nodePath(ref, "/operations"), "operations", limit)
}

// Operation returns one operation on a node by its UUID.
func (c *Client) Operation(ctx context.Context, ref, uuid string) (*Operation, error) {
	o := &Operation{}
	return o, c.Do(ctx, http.MethodGet, nodePath(ref, "/operations/"+url.PathEscape(uuid)), nil, o)
}
