package baremetal

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) stateRoutes() []rest.Route {
	const base = "/v1/nodes/{node}/states"
	return []rest.Route{
		{Method: http.MethodGet, Pattern: base, Policy: "baremetal:node:get_states", Handler: s.showStates},
		{Method: http.MethodPut, Pattern: base + "/power", Policy: "baremetal:node:set_power_state", Handler: s.setPower},
		{Method: http.MethodPut, Pattern: base + "/provision", Policy: "baremetal:node:set_provision_state", Query: []string{"dry_run"}, MaxBody: 64 << 20, Handler: s.setProvision},
		{Method: http.MethodPut, Pattern: "/v1/nodes/{node}/maintenance", Policy: "baremetal:node:set_maintenance", Handler: s.setMaintenance},
		{Method: http.MethodDelete, Pattern: "/v1/nodes/{node}/maintenance", Policy: "baremetal:node:clear_maintenance", Handler: s.clearMaintenance},
	}
}

// statesView is the part of a node that changes while it is worked on.
type statesView struct {
	ConsoleEnabled     bool            `json:"console_enabled"`
	LastError          string          `json:"last_error" zero:"null"`
	Power              node.PowerState `json:"power_state" zero:"null"`
	Provision          node.State      `json:"provision_state" zero:"null"`
	TargetPower        node.PowerState `json:"target_power_state" zero:"null"`
	TargetProvision    node.State      `json:"target_provision_state" zero:"null"`
	ProvisionUpdatedAt time.Time       `json:"provision_updated_at"`
	RAIDConfig         node.Object     `json:"raid_config" since:"12"`
	TargetRAIDConfig   node.Object     `json:"target_raid_config" since:"12"`
	BootMode           string          `json:"boot_mode" since:"75" zero:"null"`
	SecureBoot         *bool           `json:"secure_boot" since:"75"`
}

var statesViews = rest.NewView[statesView]()

// showStates answers GET /v1/nodes/{node}/states.
func (s *service) showStates(r *rest.Request) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	plan, err := statesViews.Plan(r.Version)
	if err != nil {
		return nil, err
	}
	return rest.OK(plan.Append(nil, &statesView{
		ConsoleEnabled: n.ConsoleEnabled, LastError: n.LastError, Power: n.Power, Provision: shownState(n.Provision, r.Version),
		TargetPower: n.TargetPower, TargetProvision: shownState(n.TargetProvision, r.Version), ProvisionUpdatedAt: n.ProvisionUpdatedAt,
		RAIDConfig: n.RAIDConfig, TargetRAIDConfig: n.TargetRAIDConfig, BootMode: n.BootMode, SecureBoot: n.SecureBoot,
	})), nil
}

// readNode returns the node that the path names.
func (s *service) readNode(r *rest.Request) (*node.Node, error) {
	var n *node.Node
	err := s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = nodeOf(ctx, r, tx.Node)
		return err
	})
	return n, err
}

// statesURL is where a client follows a change of a node's states.
func statesURL(r *rest.Request, part string) string {
	return r.Endpoint() + "/v1/nodes/" + r.PathValue("node") + "/states" + part
}

// powerTargets are the power states that a client may ask for, with the microversion of each.
var powerTargets = map[string]int{
	string(node.PowerOn): 1, string(node.PowerOff): 1, string(node.Rebooting): 1, string(node.SoftPowerOff): mvSoftPower, string(node.SoftRebooting): mvSoftPower,
}

// setPower answers PUT /v1/nodes/{node}/states/power.
func (s *service) setPower(r *rest.Request) (*rest.Response, error) {
	o, err := body(r, false, "target", "timeout")
	if err != nil {
		return nil, err
	}
	target, ok := o["target"].(string)
	if !ok {
		return nil, invalid("Mandatory field missing: target")
	}
	var timeout time.Duration
	if v, has := o["timeout"]; has && v != nil {
		if err := need(r, mvSoftPower); err != nil {
			return nil, err
		}
		if why := intRule(1, 1<<31)(v); why != "" {
			return nil, invalid("The timeout must be a whole number of seconds, 1 or more: %s", why)
		}
		seconds, _ := v.(float64)
		timeout = time.Duration(seconds) * time.Second
	}
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	switch since, known := powerTargets[target]; {
	case !known:
		return nil, invalid("The requested action \"%s\" can not be performed on node \"%s\" while it is in state \"%s\".", target, n.UUID, n.Power)
	case since > r.Version:
		return nil, need(r, since)
	}
	err = s.patiently(r.Context(), func() error {
		return s.intake.Power(r.Context(), n.UUID, node.PowerState(target), timeout, r.Subject.User)
	})
	if err != nil {
		return nil, err
	}
	return rest.Accepted(statesURL(r, "")), nil
}

// setMaintenance answers PUT /v1/nodes/{node}/maintenance.
func (s *service) setMaintenance(r *rest.Request) (*rest.Response, error) {
	o, err := body(r, true, "reason")
	if err != nil {
		return nil, err
	}
	if why := isText(o["reason"]); why != "" {
		return nil, invalid("Invalid reason: %s", why)
	}
	reason, _ := o["reason"].(string)
	return s.changeMaintenance(r, func(n *node.Node) { n.Maintenance, n.MaintenanceReason = true, reason })
}

// clearMaintenance answers DELETE /v1/nodes/{node}/maintenance.
func (s *service) clearMaintenance(r *rest.Request) (*rest.Response, error) {
	return s.changeMaintenance(r, func(n *node.Node) { n.Maintenance, n.MaintenanceReason, n.Fault = false, "", "" })
}

func (s *service) changeMaintenance(r *rest.Request, change func(*node.Node)) (*rest.Response, error) {
	err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.NodeForUpdate)
		if err != nil {
			return err
		}
		if n.Reservation != "" {
			return conductor.Locked(n)
		}
		change(n)
		return tx.SaveNode(ctx, n)
	})
	if err != nil {
		return nil, err
	}
	return rest.Accepted(""), nil
}

// validateNode answers GET /v1/nodes/{node}/validate and GET /v1/nodes/validate?node_uuid=.
func (s *service) validateNode(r *rest.Request) (*rest.Response, error) {
	ref := r.PathValue("node")
	if ref == "" {
		if ref = r.Query().Get("node"); ref == "" {
			ref = r.Query().Get("node_uuid")
		}
		if ref == "" {
			return nil, invalid("Expected UUID or name for node: it is missing")
		}
	}
	var n *node.Node
	err := s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		if n, err = nodeByRef(ctx, r, ref, tx.Node); err != nil {
			return err
		}
		if err := r.Permit(n); err != nil {
			return err
		}
		return tx.Unseal(ctx, n)
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(rest.AppendValue(nil, s.validity(n))), nil
}

// validity says of each interface of n, whose secrets are unsealed, whether it could be used. The answer holds no secret.
func (s *service) validity(n *node.Node) object {
	result := object{}
	var why error
	if d := s.intake.Drivers[n.Driver]; d != nil {
		why = d.Validate(n.DriverInfo)
	} else {
		why = invalid("The driver %s is unknown to this process.", n.Driver)
	}
	for _, kind := range node.AllInterfaces {
		if kind == node.Vendor {
			continue
		}
		impl := n.Interfaces[kind]
		controlled := kind == node.Power || kind == node.Management || impl == n.Interfaces[node.Power]
		switch {
		case impl == "no-"+string(kind):
			result[string(kind)] = object{"result": false, "reason": unsupported(n, string(kind)).Error()}
		case controlled && why != nil:
			result[string(kind)] = object{"result": false, "reason": why.Error()}
		default:
			result[string(kind)] = object{"result": true}
		}
	}
	return result
}

// unsupported is the fault for what a node's driver cannot do.
func unsupported(n *node.Node, what string) error {
	return fault.New(fault.Unsupported, "Driver %s does not support %s (disabled or not implemented).", n.Driver, what)
}

// call hands a call to the conductor that holds the node, and returns its answer as JSON.
func (s *service) call(r *rest.Request, n *node.Node, name, what string, args node.Object) ([]byte, error) {
	if !slices.Contains(conductor.Calls(), name) {
		return nil, unsupported(n, what)
	}
	var answer []byte
	err := s.patiently(r.Context(), func() (err error) {
		answer, err = s.intake.Call(r.Context(), n.UUID, conductor.Call{Name: name, Args: args, Actor: r.Subject.User})
		return err
	})
	return answer, err
}
