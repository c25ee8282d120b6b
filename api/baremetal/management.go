package baremetal

import (
	"net/http"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/node"
)

func (s *service) managementRoutes() []rest.Route {
	const base = "/v1/nodes/{node}/management"
	return []rest.Route{
		{Method: http.MethodGet, Pattern: base + "/boot_device", Policy: "baremetal:node:get_boot_device", Handler: s.showBootDevice},
		{Method: http.MethodPut, Pattern: base + "/boot_device", Policy: "baremetal:node:set_boot_device", Query: []string{"boot_device", "persistent"}, Handler: s.setBootDevice},
		{Method: http.MethodGet, Pattern: base + "/boot_device/supported", Policy: "baremetal:node:get_boot_device", Handler: s.showBootDevices},
	}
}

// ask answers a GET with what a call to the node's controller answers.
func (s *service) ask(r *rest.Request, name, what string, args node.Object) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	answer, err := s.call(r, n, name, what, args)
	if err != nil {
		return nil, err
	}
	return rest.OK(answer), nil
}

// showBootDevice answers GET /v1/nodes/{node}/management/boot_device.
func (s *service) showBootDevice(r *rest.Request) (*rest.Response, error) {
	return s.ask(r, "get_boot_device", "management", nil)
}

// showBootDevices answers GET /v1/nodes/{node}/management/boot_device/supported.
func (s *service) showBootDevices(r *rest.Request) (*rest.Response, error) {
	return s.ask(r, "get_supported_boot_devices", "management", nil)
}

// setBootDevice answers PUT /v1/nodes/{node}/management/boot_device. Its arguments may stand in the body or in the query.
func (s *service) setBootDevice(r *rest.Request) (*rest.Response, error) {
	o, err := body(r, true, "boot_device", "persistent")
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"boot_device", "persistent"} {
		if q := r.Query(); q.Has(key) {
			o[key] = q.Get(key)
		}
	}
	device, ok := o["boot_device"].(string)
	if !ok {
		return nil, invalid("Mandatory field missing: boot_device")
	}
	persistent := false
	if v, has := o["persistent"]; has && v != nil {
		if persistent, err = node.ParseBool(v); err != nil {
			return nil, invalid("Invalid persistent: Unrecognized value %s, acceptable values are: %s", repr(v), boolWords)
		}
	}
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	if _, err := s.call(r, n, "set_boot_device", "management", node.Object{"boot_device": device, "persistent": persistent}); err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
