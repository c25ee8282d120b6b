package baremetal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
)

func (s *service) managementRoutes() []rest.Route {
	const base, media = "/v1/nodes/{node}/management", "/v1/nodes/{node}/vmedia"
	return []rest.Route{
		{Method: http.MethodGet, Pattern: base + "/boot_device", Policy: "baremetal:node:get_boot_device", Handler: s.showBootDevice},
		{Method: http.MethodPut, Pattern: base + "/boot_device", Policy: "baremetal:node:set_boot_device", Query: []string{"boot_device", "persistent"}, Handler: s.setBootDevice},
		{Method: http.MethodGet, Pattern: base + "/boot_device/supported", Policy: "baremetal:node:get_boot_device", Handler: s.showBootDevices},
		{Method: http.MethodPut, Pattern: base + "/inject_nmi", Since: mvNMI, Policy: "baremetal:node:inject_nmi", Handler: s.injectNMI},
		{Method: http.MethodGet, Pattern: base + "/indicators", Policy: "baremetal:node:get_indicator_state", Handler: s.listIndicators},
		{Method: http.MethodGet, Pattern: base + "/indicators/{indicator}", Policy: "baremetal:node:get_indicator_state", Handler: s.showIndicator},
		{Method: http.MethodPut, Pattern: base + "/indicators/{indicator}", Policy: "baremetal:node:set_indicator_state", Handler: s.setIndicator},
		{Method: http.MethodGet, Pattern: media, Since: mvVirtualMediaRead, Policy: "baremetal:node:vmedia:get", Handler: s.listMedia},
		{Method: http.MethodPost, Pattern: media, Since: mvVirtualMedia, Policy: "baremetal:node:vmedia:attach", Handler: s.attachMedia},
		{Method: http.MethodDelete, Pattern: media, Since: mvVirtualMedia, Policy: "baremetal:node:vmedia:detach", Query: []string{"device_types"}, Handler: s.detachMedia},
	}
}

// ask answers a GET with what a call to the node's controller answers.
func (s *service) ask(r *rest.Request, name string, args node.Object) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	answer, err := s.call(r, n, name, "management", args)
	if err != nil {
		return nil, err
	}
	return rest.OK(answer), nil
}

// showBootDevice answers GET /v1/nodes/{node}/management/boot_device.
func (s *service) showBootDevice(r *rest.Request) (*rest.Response, error) {
	return s.ask(r, "get_boot_device", nil)
}

// showBootDevices answers GET /v1/nodes/{node}/management/boot_device/supported.
func (s *service) showBootDevices(r *rest.Request) (*rest.Response, error) {
	return s.ask(r, "get_supported_boot_devices", nil)
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

// tell carries out a change of the machine that answers nothing.
func (s *service) tell(r *rest.Request, name string, args node.Object) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	if _, err := s.call(r, n, name, "management", args); err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// injectNMI answers PUT /v1/nodes/{node}/management/inject_nmi.
func (s *service) injectNMI(r *rest.Request) (*rest.Response, error) {
	if _, err := body(r, true); err != nil {
		return nil, err
	}
	return s.tell(r, "inject_nmi", nil)
}

// listIndicators answers GET /v1/nodes/{node}/management/indicators.
func (s *service) listIndicators(r *rest.Request) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	answer, err := s.call(r, n, "get_indicators", "management", nil)
	if err != nil {
		return nil, err
	}
	var lamps []driver.Indicator
	if err := json.Unmarshal(answer, &lamps); err != nil {
		return nil, fmt.Errorf("indicators of node %s: %w", n.UUID, err)
	}
	list := []any{}
	for _, l := range lamps {
		name := l.ID + "@" + l.Component
		list = append(list, object{
			"name": name, "component": l.Component, "readonly": l.Readonly, "states": append([]string{}, l.States...),
			"links": &links{base: r.Endpoint(), path: "nodes", id: n.UUID, part: "/management/indicators/" + name},
		})
	}
	return rest.OK(rest.AppendValue(nil, object{"indicators": list})), nil
}

// lamp reads the indicator that the path names as NAME@COMPONENT.
func lamp(r *rest.Request) (node.Object, error) {
	name, component, ok := strings.Cut(r.PathValue("indicator"), "@")
	if !ok || name == "" || component == "" {
		return nil, invalid("Invalid indicator %s: want its name, @ and its component", r.PathValue("indicator"))
	}
	return node.Object{"component": component, "indicator": name}, nil
}

// showIndicator answers GET /v1/nodes/{node}/management/indicators/{indicator}.
func (s *service) showIndicator(r *rest.Request) (*rest.Response, error) {
	args, err := lamp(r)
	if err != nil {
		return nil, err
	}
	return s.ask(r, "get_indicator", args)
}

// setIndicator answers PUT /v1/nodes/{node}/management/indicators/{indicator}.
func (s *service) setIndicator(r *rest.Request) (*rest.Response, error) {
	args, err := lamp(r)
	if err != nil {
		return nil, err
	}
	o, err := body(r, false, "state")
	if err != nil {
		return nil, err
	}
	if why := oneOf("on", "off", "blinking", "unknown")(o["state"]); why != "" {
		return nil, invalid("Invalid state: %s", why)
	}
	args["state"] = o["state"]
	return s.tell(r, "set_indicator", args)
}

// mediaTypes are the kinds of virtual drives.
var mediaTypes = []string{"cdrom", "disk", "floppy"}

// listMedia answers GET /v1/nodes/{node}/vmedia.
func (s *service) listMedia(r *rest.Request) (*rest.Response, error) {
	return s.ask(r, "get_virtual_media", nil)
}

// attachMedia answers POST /v1/nodes/{node}/vmedia.
func (s *service) attachMedia(r *rest.Request) (*rest.Response, error) {
	o, err := body(r, false, "device_type", "image_url", "image_download_source")
	if err != nil {
		return nil, err
	}
	if why := oneOf(mediaTypes...)(o["device_type"]); why != "" {
		return nil, invalid("Schema error for vmedia: %s", why)
	}
	text, _ := o["image_url"].(string)
	u, err := url.Parse(text)
	if err != nil || !slices.Contains([]string{"http", "https", "nfs", "cifs"}, u.Scheme) {
		return nil, invalid("Invalid image_url: want a URL with the scheme http, https, nfs or cifs")
	}
	args := node.Object{"device_type": o["device_type"], "image_url": text, "image_download_source": "local"}
	if v, has := o["image_download_source"]; has {
		if why := oneOf("http", "local", "swift")(v); why != "" {
			return nil, invalid("Schema error for vmedia: %s", why)
		}
		args["image_download_source"] = v
	}
	return s.tell(r, "attach_virtual_media", args)
}

// detachMedia answers DELETE /v1/nodes/{node}/vmedia.
func (s *service) detachMedia(r *rest.Request) (*rest.Response, error) {
	types := []any{}
	if text := r.Query().Get("device_types"); text != "" {
		for _, t := range splitList(text) {
			if !slices.Contains(mediaTypes, t) {
				return nil, invalid("Invalid device type %s: want one of %s", t, repr(mediaTypes))
			}
			types = append(types, t)
		}
	}
	return s.tell(r, "detach_virtual_media", node.Object{"device_types": types})
}
