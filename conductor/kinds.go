package conductor

import (
	"encoding/json"

	"github.com/riser-project/riser/node"
)

// Kinds of operations. Those of provisioning carry the name of the state that shows them.
const (
	kindVerify  = "verify"
	kindClean   = "clean"
	kindDeploy  = "deploy"
	kindService = "service"
	kindInspect = "inspect"
	kindAdopt   = "adopt"
	kindDelete  = "delete"
	kindRescue  = "rescue"
	kindUnresc  = "unrescue"
	kindPower   = "power"
	kindCall    = "call"
)

// spec is what an operation was asked to do, as its row keeps it. Its steps, with their arguments, are rows of their own.
type spec struct {
	Verb    string          `json:"verb,omitempty"`
	Runbook string          `json:"runbook,omitempty"`
	Manual  bool            `json:"manual,omitempty"` // a clean that leads back to manageable
	Target  node.PowerState `json:"target,omitempty"`
	Timeout int64           `json:"timeout_seconds,omitempty"`
	Call    string          `json:"call,omitempty"`
	Project string          `json:"project,omitempty"`
}

func (s spec) raw() json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		return nil // only values that came from JSON are in a spec
	}
	return b
}

func readSpec(raw json.RawMessage) (spec, error) {
	var s spec
	if len(raw) == 0 {
		return s, nil
	}
	err := json.Unmarshal(raw, &s)
	return s, err
}

// waitingKinds are the kinds of operations that can wait or be held, with the node free for others.
var waitingKinds = []string{kindVerify, kindClean, kindDeploy, kindService, kindInspect, kindAdopt, kindDelete, kindRescue, kindUnresc}

// flowOf returns the flow whose steps a kind of operation runs; empty when it runs none.
func flowOf(kind string) node.Flow {
	switch kind {
	case kindClean:
		return node.FlowClean
	case kindDeploy:
		return node.FlowDeploy
	case kindService:
		return node.FlowService
	case kindVerify:
		return node.FlowVerify
	case kindInspect:
		return node.FlowInspect
	}
	return ""
}

// eventType is the word that a node's history uses for a kind of operation.
func eventType(kind string, s spec) string {
	switch kind {
	case kindClean:
		if s.Manual {
			return "manual_cleaning"
		}
		return "automated_cleaning"
	case kindDeploy:
		return "deployment"
	case kindService:
		return "servicing"
	case kindVerify:
		return "verification"
	case kindInspect:
		return "inspection"
	case kindPower:
		return "power"
	}
	return kind
}
