package conductor

import (
	"context"
	"encoding/json"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// Intake takes requests for work: it checks them whole, moves the node into the state that shows the work under way, and writes the operation
// that a conductor will carry out. All of that is one transaction, so a request is either refused with nothing changed, or never lost.
type Intake struct {
	DB      *store.DB
	Catalog *step.Catalog
	Drivers map[string]driver.Driver // by hardware type
	Config  Config
}

// Request asks for a provision verb.
type Request struct {
	Verb           node.Verb
	Steps          []node.Step // clean, service or deploy steps, or those of a runbook
	Runbook        string      // name of the runbook that Steps came from
	ConfigDrive    any         // text or object; kept as a secret of the instance
	RescuePassword string
	DisableRamdisk *bool
	Actor          string // who asks, for the history
	Project        string
}

// Plan is what a request would do: the answer to a dry run.
type Plan struct {
	Steps []PlannedStep `json:"steps"`
}

// PlannedStep is one step on one node.
type PlannedStep struct {
	Seq       int            `json:"seq"`
	Node      string         `json:"node"` // UUID
	Name      string         `json:"node_name,omitempty"`
	Interface node.Interface `json:"interface"`
	Step      string         `json:"step"`
	Args      node.Object    `json:"args,omitempty"`
	Commands  []string       `json:"commands"` // what will be sent to the controller, in order
	Skipped   string         `json:"skipped,omitempty"`
}

// CallTimeout is how long Call waits for the conductor that holds the node.
const CallTimeout = 60 * time.Second

// Call asks the machine something, or tells it something, outside of any flow, and waits for the answer.
type Call struct {
	Name  string      // a name of Calls
	Args  node.Object // as the call wants them
	Actor string
}

// Provision starts what verb asks for on the node with this UUID or name.
func (in *Intake) Provision(ctx context.Context, ref string, req Request) error {
	_, err := in.provision(ctx, ref, req, false)
	return err
}

// DryRun checks req as Provision does and returns what it would do. Nothing is changed.
func (in *Intake) DryRun(ctx context.Context, ref string, req Request) (*Plan, error) {
	return in.provision(ctx, ref, req, true)
}

// Power asks for a power target: a power state, node.Rebooting, node.SoftPowerOff or node.SoftRebooting. timeout 0 means the default.
func (in *Intake) Power(ctx context.Context, ref string, target node.PowerState, timeout time.Duration, actor string) error {
	return in.power(ctx, ref, target, timeout, actor)
}

// Call carries out c on the node and returns its answer as JSON. It waits until the conductor is done, at most CallTimeout.
func (in *Intake) Call(ctx context.Context, ref string, c Call) (json.RawMessage, error) {
	return in.call(ctx, ref, c)
}

// Heard tells the operation that waits on n, if one does, what the node's agent reports: status is "start", "end", "error" or empty. An error
// fails the step; its text is agent_status_message in the node's driver_internal_info, saved before. Anything else ends the wait of a step that
// waits for the agent, and makes the engine look at one that goes on by itself.
func Heard(ctx context.Context, tx *store.Tx, n *node.Node, status string) error {
	op, err := tx.OpenOp(ctx, n.UUID, waitingKinds...)
	if err != nil || op == nil || op.State != store.OpWaiting {
		return err
	}
	word := "resume"
	if status == "error" {
		word = "fail"
	}
	return tx.ControlOp(ctx, op, word)
}
