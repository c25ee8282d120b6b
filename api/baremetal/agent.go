package baremetal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// Keys of driver_internal_info that an agent's calls fill in.
const (
	agentToken     = "agent_secret_token"
	agentURL       = "agent_url"
	agentHeartbeat = "agent_last_heartbeat"
)

func (s *service) agentRoutes() []rest.Route {
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/lookup", Since: mvLookup, Public: true, Policy: "baremetal:driver:ipa_lookup", Query: []string{"addresses", "node_uuid"}, Handler: s.lookup},
		{Method: http.MethodPost, Pattern: "/v1/heartbeat/{node}", Since: mvLookup, Public: true, Policy: "baremetal:node:ipa_heartbeat", Query: []string{rest.AnyQuery}, Handler: s.heartbeat},
		{Method: http.MethodPost, Pattern: "/v1/continue_inspection", Public: true, Policy: "baremetal:driver:ipa_continue_inspection", Query: []string{"node_uuid"}, MaxBody: 16 << 20, Handler: s.continueInspection},
	}
}

// closed refuses the calls of agents where they are switched off.
func (s *service) closed() error {
	if s.cfg.NoAgent {
		return fault.New(fault.Forbidden, "The calls of agents are disabled by the configuration ([api] enable_ramdisk_endpoints).")
	}
	return nil
}

// unknownAgent is the answer to every look-up that fails: an agent is not told why.
func unknownAgent() error { return fault.New(fault.NotFound, "Resource could not be found.") }

// lookup answers GET /v1/lookup: an agent asks which node it runs on.
func (s *service) lookup(r *rest.Request) (*rest.Response, error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	q := r.Query()
	macs, uuid := splitMACs(q.Get("addresses")), q.Get("node_uuid")
	if len(macs) == 0 && uuid == "" {
		return nil, invalid("An incomplete lookup was attempted: either addresses or node_uuid is needed.")
	}
	if uuid != "" && !node.IsUUID(uuid) {
		return nil, invalid("Expected UUID for node_uuid: %s", uuid)
	}
	var answer object
	err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := agentsNode(ctx, tx, canonical(uuid), macs)
		if err != nil {
			return err
		}
		if !s.cfg.OpenLookup && !lookupAllowed(n.Provision) {
			return unknownAgent()
		}
		token, err := giveToken(ctx, tx, r, n)
		answer = s.lookupAnswer(r, n, token)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(rest.AppendValue(nil, answer)), nil
}

func splitMACs(text string) []string {
	var macs []string
	for _, part := range splitList(text) {
		if hw, err := net.ParseMAC(part); err == nil && len(hw) == 6 {
			macs = append(macs, hw.String())
		}
	}
	return macs
}

// agentsNode finds the node of an agent by its UUID or else by the addresses of its ports, all of which must be one node's.
func agentsNode(ctx context.Context, tx *store.Tx, uuid string, macs []string) (*node.Node, error) {
	if uuid != "" {
		n, err := tx.NodeForUpdate(ctx, uuid)
		if fault.Is(err, fault.NotFound) {
			err = unknownAgent()
		}
		return n, err
	}
	found := ""
	for _, mac := range macs {
		ports, err := tx.Ports(ctx, store.PortQuery{Address: mac})
		if err != nil {
			return nil, err
		}
		for _, p := range ports {
			if found != "" && p.NodeUUID != found {
				return nil, unknownAgent()
			}
			found = p.NodeUUID
		}
	}
	if found == "" {
		return nil, unknownAgent()
	}
	return tx.NodeForUpdate(ctx, found)
}

func lookupAllowed(s node.State) bool {
	switch s {
	case node.Deploying, node.DeployWait, node.Cleaning, node.CleanWait, node.Inspecting, node.InspectWait, node.Rescuing, node.RescueWait, node.ServiceWait:
		return true
	}
	return false
}

// giveToken makes the token with which the agent proves itself, once. Later look-ups are told only that there is one.
func giveToken(ctx context.Context, tx *store.Tx, r *rest.Request, n *node.Node) (string, error) {
	if r.Version < mvAgentToken {
		return "", nil
	}
	if old, _ := n.DriverInternalInfo[agentToken].(string); old != "" {
		return node.Masked, nil
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token := base64.RawURLEncoding.EncodeToString(secret)
	n.DriverInternalInfo = with(n.DriverInternalInfo, node.Object{agentToken: token})
	return token, tx.SaveNode(ctx, n)
}

// with returns a copy of o in which the keys of more are set; a nil value removes a key.
func with(o, more node.Object) node.Object {
	c := maps.Clone(o)
	if c == nil {
		c = node.Object{}
	}
	for k, v := range more {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func (s *service) lookupAnswer(r *rest.Request, n *node.Node, token string) object {
	config := object{
		"metrics":           object{"backend": "noop", "prepend_host": false, "prepend_uuid": false, "prepend_host_reverse": true, "global_prefix": nil},
		"metrics_statsd":    object{"statsd_host": "localhost", "statsd_port": 8125},
		"heartbeat_timeout": s.cfg.AgentHeartbeat, "agent_containers": object{}, "agent_token": orNil(token), "agent_token_required": true,
		"agent_md5_checksum_enable": false, "disable_deep_image_inspection": false, "permitted_image_formats": s.cfg.ImageFormats,
		"agent_skip_bmc_detect": false, "enable_bios_bootloader_install": true, "tls_min_version": "1.3", "tls_cipher_suites": nil,
	}
	return object{
		"node": object{
			"uuid": n.UUID, "properties": n.Properties, "instance_info": masked(n.InstanceInfo),
			"driver_internal_info": masked(n.DriverInternalInfo), "links": &links{base: r.Endpoint(), path: "nodes", id: n.UUID},
		},
		"config": config,
	}
}

// heartbeat answers POST /v1/heartbeat/{node}: an agent says that it is alive and where it is.
func (s *service) heartbeat(r *rest.Request) (*rest.Response, error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	o, err := readHeartbeat(r)
	if err != nil {
		return nil, err
	}
	callback, _ := o["callback_url"].(string)
	err = s.write(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeByRef(ctx, r, r.PathValue("node"), tx.NodeForUpdate)
		if err != nil {
			return err
		}
		if err := checkToken(ctx, tx, n, o["agent_token"]); err != nil {
			return err
		}
		if err := s.checkCallback(callback); err != nil {
			return err
		}
		if _, ok := o["agent_version"].(string); !ok {
			return invalid("Agent did not transmit a version, and a version is required. Please update the agent being used.")
		}
		known, _ := n.DriverInternalInfo[agentURL].(string)
		switch {
		case known != "" && known != callback:
			return invalid("Detected change in ramdisk provided \"callback_url\"")
		case n.Reservation != "" && known == "":
			return conductor.Locked(n)
		}
		return hear(ctx, tx, n, o)
	})
	if err != nil {
		return nil, err
	}
	return rest.Accepted(""), nil
}

// heartbeatKeys are what a heartbeat may carry, with the microversion of each.
var heartbeatKeys = map[string]int{
	"callback_url": mvLookup, "agent_version": mvAgentVersion, "agent_token": mvAgentToken, "agent_verify_ca": mvVerifyCA,
	"agent_status": mvAgentStatus, "agent_status_message": mvAgentStatus,
}

func readHeartbeat(r *rest.Request) (map[string]any, error) {
	o, err := r.Object(true)
	if err != nil {
		return nil, err
	}
	for k := range r.Query() { // older agents put them into the query
		if _, has := o[k]; !has {
			o[k] = r.Query().Get(k)
		}
	}
	for k, v := range o {
		since, known := heartbeatKeys[k]
		if !known {
			return nil, invalid("Unexpected arguments: %s", k)
		}
		if since > r.Version {
			return nil, invalid("Field %s is not recognized", k)
		}
		if why := textRule(0, 64<<10)(v); why != "" {
			return nil, invalid("Invalid %s: it must be a text", k)
		}
	}
	if status, has := o["agent_status"]; has && status != nil && oneOf("start", "end", "error")(status) != "" {
		return nil, invalid("agent_status must be one of start, end, error")
	}
	return o, nil
}

func (s *service) checkCallback(callback string) error {
	u, err := url.Parse(callback)
	switch {
	case callback == "" || err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return invalid("An issue with the supplied \"callback_url\" has been detected: want the URL of the agent")
	case u.Scheme == "http" && !s.cfg.PlainAgent:
		return invalid("TLS is required by configuration: the agent's callback_url must start with https")
	}
	return nil
}

func checkToken(ctx context.Context, tx *store.Tx, n *node.Node, given any) error {
	token, _ := given.(string)
	if token == "" {
		return invalid("Agent token is required for heartbeat processing.")
	}
	if err := tx.Unseal(ctx, n); err != nil {
		return err
	}
	want, _ := n.DriverInternalInfo[agentToken].(string)
	if want == "" || want == node.Masked || subtle.ConstantTimeCompare([]byte(want), []byte(token)) != 1 {
		return invalid("Invalid or missing agent token received.")
	}
	return nil
}

// hear keeps what the agent said, and wakes the operation that waits for it.
func hear(ctx context.Context, tx *store.Tx, n *node.Node, o map[string]any) error {
	n.DriverInternalInfo = with(n.DriverInternalInfo, node.Object{
		agentURL: o["callback_url"], "agent_version": o["agent_version"], "agent_verify_ca": o["agent_verify_ca"],
		"agent_status": o["agent_status"], "agent_status_message": o["agent_status_message"],
		agentHeartbeat: tx.Now().Format("2006-01-02T15:04:05.000000"),
	})
	if err := tx.SaveNode(ctx, n); err != nil {
		return err
	}
	if !n.Provision.Waiting() {
		return nil
	}
	op, err := tx.OpenOp(ctx, n.UUID)
	if err != nil || op == nil || op.State != store.OpWaiting {
		return err
	}
	return tx.ControlOp(ctx, op, "resume")
}

// continueInspection answers POST /v1/continue_inspection: an agent hands in what it found on its machine.
func (s *service) continueInspection(r *rest.Request) (*rest.Response, error) {
	if r.Version < mvContinue && r.Version != 1 { // very old agents know only 1.1
		return nil, &rest.Failure{Status: http.StatusNotFound, Stage: rest.Routing}
	}
	if err := s.closed(); err != nil {
		return nil, err
	}
	o, err := r.Object(false)
	if err != nil {
		return nil, err
	}
	inventory, _ := o["inventory"].(map[string]any)
	macs, why := foundMACs(inventory)
	if why != "" {
		return nil, invalid("Schema error for inspection data: %s", why)
	}
	uuid := r.Query().Get("node_uuid")
	if uuid != "" && !node.IsUUID(uuid) {
		return nil, invalid("Expected UUID for node_uuid: %s", uuid)
	}
	var n *node.Node
	err = s.write(r, func(ctx context.Context, tx *store.Tx) (err error) {
		if n, err = inspected(ctx, tx, canonical(uuid), macs, inventory); err != nil {
			return err
		}
		delete(o, "inventory")
		if err := tx.SetInventory(ctx, n.UUID, &node.Inventory{Inventory: inventory, PluginData: o}); err != nil {
			return err
		}
		op, err := tx.OpenOp(ctx, n.UUID, "inspect")
		if err != nil || op == nil {
			return err
		}
		return tx.ControlOp(ctx, op, "resume")
	})
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusAccepted, Body: rest.AppendValue(nil, object{"uuid": n.UUID})}, nil
}

// foundMACs returns the addresses of the interfaces in an inventory, which has at least one.
func foundMACs(inventory object) (macs []string, why string) {
	if inventory == nil {
		return nil, "'inventory' is a required property"
	}
	list, _ := inventory["interfaces"].([]any)
	if len(list) == 0 {
		return nil, "inventory.interfaces must be a list with at least one interface"
	}
	for i, v := range list {
		o, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Sprintf("inventory.interfaces[%d] must be an object", i)
		}
		if mac, _ := o["mac_address"].(string); mac != "" {
			macs = append(macs, strings.ToLower(mac))
		}
	}
	return macs, ""
}

// inspected finds the node that an agent has inspected: one that is being inspected, by the addresses of its ports or of its controller.
func inspected(ctx context.Context, tx *store.Tx, uuid string, macs []string, inventory object) (*node.Node, error) {
	n, err := agentsNode(ctx, tx, uuid, macs)
	if fault.Is(err, fault.NotFound) && uuid == "" {
		n, err = nodeByController(ctx, tx, inventory)
	}
	if err != nil {
		return nil, err
	}
	if n.Provision != node.InspectWait && n.Provision != node.Inspecting {
		return nil, unknownAgent()
	}
	return n, nil
}

// nodeByController finds the one node under inspection whose driver_info names the controller address in the inventory. Children are looked at
// too.
func nodeByController(ctx context.Context, tx *store.Tx, inventory object) (*node.Node, error) {
	address, _ := inventory["bmc_address"].(string)
	if address == "" || address == "0.0.0.0" {
		return nil, unknownAgent()
	}
	list, err := tx.Nodes(ctx, store.NodeQuery{IncludeChildren: true, Provision: []node.State{node.InspectWait, node.Inspecting}})
	if err != nil {
		return nil, err
	}
	var found *node.Node
	for _, n := range list {
		if !namesHost(n.DriverInfo, address) {
			continue
		}
		if found != nil {
			return nil, unknownAgent()
		}
		found = n
	}
	if found == nil {
		return nil, unknownAgent()
	}
	return tx.NodeForUpdate(ctx, found.UUID)
}

func namesHost(info node.Object, address string) bool {
	for k, v := range info {
		text, _ := v.(string)
		if !strings.HasSuffix(k, "_address") || text == "" {
			continue
		}
		if text == address {
			return true
		}
		if u, err := url.Parse(text); err == nil && u.Hostname() == address {
			return true
		}
	}
	return false
}
