package baremetal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// provisionBody is the body of PUT /v1/nodes/{node}/states/provision.
type provisionBody struct {
	target         string
	configDrive    any
	steps          map[string]json.RawMessage // by key: clean_steps, deploy_steps, service_steps
	rescuePassword string
	disableRamdisk *bool
	runbook        string
}

var provisionKeys = []string{"target", "configdrive", "clean_steps", "deploy_steps", "service_steps", "rescue_password", "disable_ramdisk", "runbook"}

// stepKeys are the lists of steps, each with the events that it goes with.
var stepKeys = map[string][]node.Event{
	"clean_steps": {node.EvClean}, "service_steps": {node.EvService}, "deploy_steps": {node.EvDeploy, node.EvRebuild},
}

// setProvision answers PUT /v1/nodes/{node}/states/provision. With ?dry_run=true it answers with what the request would do, and does nothing.
func (s *service) setProvision(r *rest.Request) (*rest.Response, error) {
	dry, err := queryBool(r.Query(), "dry_run")
	if err != nil {
		return nil, err
	}
	b, err := readProvision(r)
	if err != nil {
		return nil, err
	}
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	req, err := s.provisionRequest(r, n, b)
	if err != nil {
		return nil, err
	}
	if dry != nil && *dry {
		plan, err := s.intake.DryRun(r.Context(), n.UUID, *req)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(plan)
		return rest.OK(text), err
	}
	if err := s.patiently(r.Context(), func() error { return s.intake.Provision(r.Context(), n.UUID, *req) }); err != nil {
		return nil, err
	}
	return rest.Accepted(statesURL(r, "")), nil
}

func readProvision(r *rest.Request) (*provisionBody, error) {
	var raw map[string]json.RawMessage
	if err := r.Decode(&raw); err != nil {
		return nil, err
	}
	var odd []string
	for k := range raw {
		if !slices.Contains(provisionKeys, k) {
			odd = append(odd, k)
		}
	}
	if len(odd) > 0 {
		slices.Sort(odd)
		return nil, invalid("Unexpected arguments: %s", strings.Join(odd, ", "))
	}
	b := &provisionBody{steps: map[string]json.RawMessage{}}
	if json.Unmarshal(raw["target"], &b.target) != nil || b.target == "" {
		return nil, invalid("Mandatory field missing: target")
	}
	for key := range stepKeys {
		if v, ok := raw[key]; ok && string(v) != "null" {
			b.steps[key] = v
		}
	}
	return b, b.readRest(raw)
}

func (b *provisionBody) readRest(raw map[string]json.RawMessage) error {
	if v := raw["configdrive"]; v != nil {
		if err := json.Unmarshal(v, &b.configDrive); err != nil {
			return invalid("configdrive cannot be read as JSON")
		}
		switch b.configDrive.(type) {
		case nil, string, map[string]any:
		default:
			return invalid("configdrive must be a text or an object")
		}
	}
	for key, p := range map[string]*string{"rescue_password": &b.rescuePassword, "runbook": &b.runbook} {
		if v := raw[key]; v != nil && json.Unmarshal(v, p) != nil {
			return invalid("Expected string for %s", key)
		}
	}
	if v := raw["disable_ramdisk"]; v != nil && string(v) != "null" {
		var any any
		if err := json.Unmarshal(v, &any); err != nil {
			return invalid("disable_ramdisk cannot be read as JSON")
		}
		flag, err := node.ParseBool(any)
		if err != nil {
			return invalid("Invalid disable_ramdisk: Unrecognized value %s, acceptable values are: %s", repr(any), boolWords)
		}
		b.disableRamdisk = &flag
	}
	return nil
}

// verbSince are the microversions below which a verb is refused before anything else is looked at. Later ones are looked at after the state.
var verbSince = []node.Event{node.EvManage, node.EvProvide, node.EvInspect, node.EvAbort, node.EvClean, node.EvAdopt, node.EvRescue, node.EvUnrescue, node.EvDeploy}

// provisionRequest checks b, as far as that needs no lock on the node, in the order in which clients of the API learn of faults.
func (s *service) provisionRequest(r *rest.Request, n *node.Node, b *provisionBody) (*conductor.Request, error) {
	verb, ok := node.VerbOf(b.target)
	if !ok {
		return nil, invalid("The requested action \"%s\" could not be understood.", b.target)
	}
	if slices.Contains(verbSince, verb.Event) {
		if err := need(r, verb.Since); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"clean_steps", "service_steps"} {
		if b.steps[key] == nil {
			continue
		}
		if err := r.PermitRule("baremetal:node:set_provision_state:"+key, n); err != nil {
			return nil, err
		}
	}
	if err := possible(n, verb); err != nil {
		return nil, err
	}
	if err := b.checkConfigDrive(r, verb); err != nil {
		return nil, err
	}
	req := &conductor.Request{
		Verb: verb, ConfigDrive: b.configDrive, RescuePassword: b.rescuePassword, DisableRamdisk: b.disableRamdisk, Actor: r.Subject.User,
		Project: r.Subject.Project,
	}
	if err := s.useRunbook(r, n, b, req); err != nil {
		return nil, err
	}
	if err := b.checkRamdisk(r, verb); err != nil {
		return nil, err
	}
	if err := b.checkVerb(r, n, verb); err != nil {
		return nil, err
	}
	if err := b.takeSteps(req); err != nil {
		return nil, err
	}
	return req, s.checkLimits(r, req.Steps)
}

// checkLimits looks for every child that a step is limited to. The conductor's intake sees whether it is a child of the node.
func (s *service) checkLimits(r *rest.Request, steps []node.Step) error {
	return s.read(r, func(ctx context.Context, tx *store.Tx) error {
		for _, st := range steps {
			for _, ref := range st.LimitToChildren {
				n, err := nodeByRef(ctx, r, ref, tx.Node)
				if err == nil {
					err = r.Permit(n)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// possible refuses a verb that the node's state does not have. The conductor's intake asks again, with the node held.
func possible(n *node.Node, verb node.Verb) error {
	deploys := verb.Event == node.EvDeploy || verb.Event == node.EvRebuild
	if n.Maintenance && deploys {
		return invalid("The provisioning operation can't be performed on node %s because it's in maintenance mode.", n.UUID)
	}
	if _, ok := node.Next(n.Provision, verb.Event); ok {
		return nil
	}
	if n.Reservation != "" {
		return conductor.Locked(n)
	}
	return invalid("The requested action \"%s\" can not be performed on node \"%s\" while it is in state \"%s\".", verb.Target, n.UUID, n.Provision)
}

var configDriveKeys = map[string]int{"meta_data": mvConfigDriveObject, "network_data": mvConfigDriveObject, "user_data": mvConfigDriveObject, "vendor_data": mvVendorData}

func (b *provisionBody) checkConfigDrive(r *rest.Request, verb node.Verb) error {
	if b.configDrive == nil {
		return nil
	}
	if b.target != "active" && b.target != "rebuild" {
		return invalid("Adding a config drive is only supported when setting provision state to active or rebuild")
	}
	if verb.Event == node.EvRebuild {
		if err := need(r, mvRebuildConfigDrive); err != nil {
			return err
		}
	}
	o, ok := b.configDrive.(map[string]any)
	if !ok {
		return nil
	}
	if err := need(r, mvConfigDriveObject); err != nil {
		return err
	}
	for k, v := range o {
		since, known := configDriveKeys[k]
		if !known {
			return invalid("configdrive: Additional properties are not allowed (%s was unexpected)", reprString(k))
		}
		if err := need(r, since); err != nil {
			return err
		}
		if why := typeRule("object", "array", "string", "null")(v); why != "" {
			return invalid("configdrive.%s: %s", k, why)
		}
	}
	return nil
}

// useRunbook takes the steps of the runbook that the request names.
func (s *service) useRunbook(r *rest.Request, n *node.Node, b *provisionBody, req *conductor.Request) error {
	if b.runbook == "" {
		return nil
	}
	if err := need(r, mvRunbooks); err != nil {
		return err
	}
	if ev := req.Verb.Event; ev != node.EvClean && ev != node.EvService {
		return invalid("A runbook can only be used with the provision targets clean and service, not %s", b.target)
	}
	if len(b.steps) > 0 {
		return invalid("A runbook and a list of steps can not be used together")
	}
	return s.read(r, func(ctx context.Context, tx *store.Tx) error {
		book, err := tx.Runbook(ctx, canonical(b.runbook))
		if err != nil {
			return err
		}
		if err := r.PermitRule("baremetal:runbook:use", book); err != nil {
			return err
		}
		traits, err := tx.Traits(ctx, n.UUID)
		if err != nil {
			return err
		}
		if !book.Suits(traits) {
			return invalid("Runbook %s is not allowed on node %s: the node needs the trait %s", book.Name, n.UUID, strings.Join(append([]string{book.Name}, book.Traits...), " or "))
		}
		disable := book.DisableRamdisk
		req.Runbook, req.Steps, req.DisableRamdisk = book.Name, book.Ordered(), &disable
		return nil
	})
}

func (b *provisionBody) checkRamdisk(r *rest.Request, verb node.Verb) error {
	if b.disableRamdisk == nil {
		return nil
	}
	switch verb.Event {
	case node.EvClean:
		return need(r, mvDisableRamdisk)
	case node.EvService:
		return need(r, mvServiceRamdisk)
	}
	return invalid("disable_ramdisk is only supported when setting provision state to clean or service, not %s", b.target)
}

// checkVerb refuses what does not go with the verb, and verbs of later versions.
func (b *provisionBody) checkVerb(r *rest.Request, n *node.Node, verb node.Verb) error {
	for key, events := range stepKeys {
		if b.steps[key] == nil {
			continue
		}
		if !slices.Contains(events, verb.Event) || b.target == "deploy" {
			return invalid("\"%s\" is only valid when setting target provision state to %s", key, map[string]string{
				"clean_steps": "clean", "service_steps": "service", "deploy_steps": "active or rebuild",
			}[key])
		}
		if key == "deploy_steps" {
			if err := need(r, mvDeploySteps); err != nil {
				return err
			}
		}
	}
	if b.rescuePassword != "" && verb.Event != node.EvRescue {
		return invalid("\"rescue_password\" is only valid when setting target provision state to rescue")
	}
	if verb.Event == node.EvRescue && strings.TrimSpace(b.rescuePassword) == "" {
		return invalid("A non-empty \"rescue_password\" is required when setting target provision state to rescue")
	}
	switch {
	case verb.Event == node.EvAbort && n.Provision == node.InspectWait:
		return need(r, mvAbortInspect)
	case verb.Event == node.EvAbort && n.Provision == node.DeployWait:
		return need(r, mvAbortDeploy)
	case verb.Event == node.EvUnhold, verb.Event == node.EvService:
		return need(r, verb.Since)
	}
	return nil
}

// takeSteps reads the list of steps that the verb goes with.
func (b *provisionBody) takeSteps(req *conductor.Request) error {
	var key string
	var needed []string
	switch req.Verb.Event {
	case node.EvClean:
		key = "clean_steps"
	case node.EvService:
		key = "service_steps"
	case node.EvDeploy, node.EvRebuild:
		key, needed = "deploy_steps", []string{"args", "priority"}
	default:
		return nil
	}
	raw, given := b.steps[key]
	mandatory := key != "deploy_steps"
	if (!given || isEmptyList(raw)) && mandatory && b.runbook == "" {
		return invalid("\"%s\" is required when setting target provision state to %s", key, b.target)
	}
	if !given || isEmptyList(raw) {
		return nil
	}
	steps, faults := node.ParseSteps(key, raw, needed...)
	if len(faults) > 0 {
		return invalid("Invalid %s: %s", key, strings.Join(faults, "; "))
	}
	if key == "deploy_steps" {
		if twice := repeated(steps); twice != "" {
			return invalid("Invalid %s: duplicate deploy step %s", key, twice)
		}
	}
	req.Steps = steps
	return nil
}

func isEmptyList(raw json.RawMessage) bool {
	var list []json.RawMessage
	return json.Unmarshal(raw, &list) == nil && len(list) == 0
}

// repeated returns the name of a step that stands in the list twice, or "".
func repeated(steps []node.Step) string {
	seen := map[string]bool{}
	for _, s := range steps {
		if seen[s.Name()] {
			return fmt.Sprintf("%q", s.Name())
		}
		seen[s.Name()] = true
	}
	return ""
}
