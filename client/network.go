package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/node"
)

// Network is an isolated layer-2 segment (Networking API v2.0).
type Network struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
	MTU    int    `json:"mtu"`
}

// Subnet is an address range of a network (Networking API v2.0).
type Subnet struct {
	ID        string `json:"id"`
	NetworkID string `json:"network_id"`
	Name      string `json:"name"`
	CIDR      string `json:"cidr"`
	Gateway   string `json:"gateway_ip"`
}

// Port is a virtual network port (Networking API v2.0 with the extension binding).
type Port struct {
	ID        string            `json:"id"`
	NetworkID string            `json:"network_id"`
	Name      string            `json:"name"`
	MAC       string            `json:"mac_address"`
	Status    string            `json:"status"` // a status of package network
	DeviceID  string            `json:"device_id"`
	FixedIPs  []network.FixedIP `json:"fixed_ips"`
	HostID    string            `json:"binding:host_id"`
	VNICType  string            `json:"binding:vnic_type"`
	VIFType   string            `json:"binding:vif_type"`
	Profile   network.Profile   `json:"binding:profile"`
}

// CreateNetwork makes a network with these fields of the API.
func (c *Client) CreateNetwork(ctx context.Context, fields node.Object) (*Network, error) {
	return create[Network](ctx, c, "/networking/v2.0/networks", "network", fields)
}

// CreateSubnet makes a subnet with these fields of the API; network_id and cidr are required, and ip_version by Neutron.
func (c *Client) CreateSubnet(ctx context.Context, fields node.Object) (*Subnet, error) {
	return create[Subnet](ctx, c, "/networking/v2.0/subnets", "subnet", fields)
}

// CreatePort makes a port with these fields of the API; network_id is required.
func (c *Client) CreatePort(ctx context.Context, fields node.Object) (*Port, error) {
	return create[Port](ctx, c, "/networking/v2.0/ports", "port", fields)
}

// Port returns the port with this UUID.
func (c *Client) Port(ctx context.Context, id string) (*Port, error) {
	return show[Port](ctx, c, "/networking/v2.0/ports/"+url.PathEscape(id), "port")
}

// Ports lists the ports that query selects.
func (c *Client) Ports(ctx context.Context, query url.Values) ([]Port, error) {
	return List[Port](ctx, c, "/networking/v2.0/ports"+encode(query), "ports", 0)
}

// DeletePort removes a port.
func (c *Client) DeletePort(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/networking/v2.0/ports/"+url.PathEscape(id), nil, nil)
}

// create posts an object in an envelope of one key, and returns the object of the answer.
func create[T any](ctx context.Context, c *Client, path, key string, fields any) (*T, error) {
	return enveloped[T](ctx, c, http.MethodPost, path, key, map[string]any{key: fields})
}

func show[T any](ctx context.Context, c *Client, path, key string) (*T, error) {
	return enveloped[T](ctx, c, http.MethodGet, path, key, nil)
}

func enveloped[T any](ctx context.Context, c *Client, method, path, key string, in any) (*T, error) {
	var answer map[string]json.RawMessage
	if err := c.Do(ctx, method, path, in, &answer); err != nil {
		return nil, err
	}
	if answer[key] == nil {
		return nil, fmt.Errorf("%s %s: the answer has no %q", method, path, key)
	}
	v := new(T)
	return v, decode(method, path, answer[key], v)
}
