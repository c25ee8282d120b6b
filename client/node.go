package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/riser-project/riser/node"
)

// Node is a bare-metal node as the API shows it, in the fields that programs ask for most. Fields that a list was not asked for are empty.
type Node struct {
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Driver string `json:"driver"`
	Parent string `json:"parent_node"` // UUID

	Power           node.PowerState `json:"power_state"`
	TargetPower     node.PowerState `json:"target_power_state"`
	Provision       node.State      `json:"provision_state"`
	TargetProvision node.State      `json:"target_provision_state"`

	LastError         string `json:"last_error"`
	Reservation       string `json:"reservation"`
	Maintenance       bool   `json:"maintenance"`
	MaintenanceReason string `json:"maintenance_reason"`
	Fault             string `json:"fault"`

	Properties    node.Object `json:"properties"`
	DriverInfo    node.Object `json:"driver_info"` // secrets masked
	Extra         node.Object `json:"extra"`
	Traits        []string    `json:"traits"`
	ResourceClass string      `json:"resource_class"`
	Owner         string      `json:"owner"`
	InstanceUUID  string      `json:"instance_uuid"`
	Conductor     string      `json:"conductor"`
}

// Label returns the name a person knows the node by: its name, else its UUID.
func (n *Node) Label() string {
	if n.Name != "" {
		return n.Name
	}
	return n.UUID
}

// CardSerial returns the serial number of the card that a DPU's node stands for, or "".
func (n *Node) CardSerial() string { return property(n, "card_serial_number") }

// Chassis returns the host name of a DPU's own Linux, by which OVN knows it, or "".
func (n *Node) Chassis() string { return property(n, "chassis_name") }

func property(n *Node, key string) string {
	text, _ := n.Properties[key].(string)
	return text
}

// Change is one operation of a JSON patch (RFC 6902, section 4).
type Change struct {
	Op    string `json:"op"`   // add, replace, remove
	Path  string `json:"path"` // a JSON pointer (RFC 6901); Pointer makes one
	Value any    `json:"value,omitempty"`
}

// Power asks for a power state.
type Power struct {
	Target  node.PowerState // a state, node.Rebooting, node.SoftPowerOff or node.SoftRebooting
	Timeout time.Duration   // of the change, in whole seconds; 0 is the server's default
}

func nodePath(ref, part string) string { return "/v1/nodes/" + url.PathEscape(ref) + part }

// Nodes lists the nodes that query selects: filters, fields and sorting of the API (Ironic API, GET /v1/nodes). Children are among them only
// with include_children or parent_node.
func (c *Client) Nodes(ctx context.Context, query url.Values) ([]Node, error) {
	return List[Node](ctx, c, "/v1/nodes"+encode(query), "nodes", 0)
}

// Node returns the node with this UUID or name.
func (c *Client) Node(ctx context.Context, ref string) (*Node, error) {
	n := &Node{}
	return n, c.Do(ctx, http.MethodGet, nodePath(ref, ""), nil, n)
}

// Children returns the child nodes of a node, in full.
func (c *Client) Children(ctx context.Context, ref string) ([]Node, error) {
	parent, err := c.Node(ctx, ref)
	if err != nil {
		return nil, err
	}
	return c.Nodes(ctx, url.Values{"parent_node": {parent.UUID}, "detail": {"true"}})
}

// CreateNode makes a node with these fields of the API; driver is required.
func (c *Client) CreateNode(ctx context.Context, fields node.Object) (*Node, error) {
	n := &Node{}
	return n, c.Do(ctx, http.MethodPost, "/v1/nodes", fields, n)
}

// PatchNode changes a node, by all of the changes or by none.
func (c *Client) PatchNode(ctx context.Context, ref string, changes []Change) (*Node, error) {
	n := &Node{}
	return n, c.Do(ctx, http.MethodPatch, nodePath(ref, ""), changes, n)
}

// DeleteNode removes a node.
func (c *Client) DeleteNode(ctx context.Context, ref string) error {
	return c.Do(ctx, http.MethodDelete, nodePath(ref, ""), nil, nil)
}

// SetMaintenance puts a node into maintenance for reason, or takes it out.
func (c *Client) SetMaintenance(ctx context.Context, ref string, on bool, reason string) error {
	if !on {
		return c.Do(ctx, http.MethodDelete, nodePath(ref, "/maintenance"), nil, nil)
	}
	return c.Do(ctx, http.MethodPut, nodePath(ref, "/maintenance"), map[string]string{"reason": reason}, nil)
}

// SetPower asks for a change of power and returns as soon as the server has taken it on. WaitPower waits for the change.
func (c *Client) SetPower(ctx context.Context, ref string, p Power) error {
	body := map[string]any{"target": p.Target}
	if p.Timeout > 0 {
		body["timeout"] = int(p.Timeout.Round(time.Second).Seconds())
	}
	return c.Do(ctx, http.MethodPut, nodePath(ref, "/states/power"), body, nil)
}
