package conductor

import (
	"time"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// Config is what an operator may set about the engine. Zero values mean the defaults.
type Config struct {
	ChildWidth    int           // children on which a step runs at the same time; 64
	Workers       int           // operations at the same time; 300
	StepTimeout   time.Duration // of an attempt of a step that does not say its own; 30 min
	WaitTimeout   time.Duration // of a wait for something outside; 30 min
	PollInterval  time.Duration // between two looks at a step that waits; 10 s
	CommandLimit  time.Duration // longest life of one command; at most the delay of a successor; 10 s
	KeepOps       int           // ended operations kept for each node; 100
	AsyncChildren bool          // child steps may wait (permit_child_node_step_async_result)

	AutomatedClean             *bool // clean on the way to available; true
	PowerOffAfterDeployFailure *bool // true

	Priorities map[node.Flow]map[string]int // of automated steps, by "interface.step"; 0 turns a step off
	Disallowed map[node.Flow][]string       // steps that clients may not ask for, "interface.step"; vendor.send_raw in each flow

	SyncInterval      time.Duration // between two looks at the power of a machine; 0 means 120 s, negative means never
	SyncChildInterval time.Duration // the same for cards with a power supply of their own; 300 s
	SyncRetries       int           // failed looks before a node goes to maintenance; 3
	SyncWidth         int           // looks at the same time; 64
}

func (c Config) filled() Config {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.StepTimeout, 30 * time.Minute}, {&c.WaitTimeout, 30 * time.Minute}, {&c.PollInterval, 10 * time.Second}, {&c.CommandLimit, 10 * time.Second},
		{&c.SyncInterval, 2 * time.Minute}, {&c.SyncChildInterval, 5 * time.Minute},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	for _, d := range []struct {
		v   *int
		def int
	}{{&c.ChildWidth, 64}, {&c.Workers, 300}, {&c.KeepOps, 100}, {&c.SyncRetries, 3}, {&c.SyncWidth, 64}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.Disallowed == nil {
		off := []string{"vendor.send_raw"}
		c.Disallowed = map[node.Flow][]string{node.FlowClean: off, node.FlowDeploy: off, node.FlowService: off}
	}
	return c
}

// setting is the name of the configuration list that a flow's disallowed steps stand in.
func setting(f node.Flow) string { return "[api]disallow_" + string(f) + "_steps" }

func (c Config) keepsPower() bool {
	return c.PowerOffAfterDeployFailure != nil && !*c.PowerOffAfterDeployFailure
}

// priority is that of the step d in an automated flow.
func (c Config) priority(f node.Flow, d *step.Definition) int {
	if p, ok := c.Priorities[f][d.FullName()]; ok {
		return p
	}
	return d.Priority
}

func (c Config) cleansBefore(n *node.Node) bool {
	switch {
	case n.AutomatedClean != nil:
		return *n.AutomatedClean
	case c.AutomatedClean != nil:
		return *c.AutomatedClean
	}
	return true
}
