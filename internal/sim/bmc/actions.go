package bmc

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answer serves a request honestly.
func (c *Controller) answer(r *http.Request, p payload) reply {
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case p.bad:
		return fail(http.StatusBadRequest, "MalformedJSON", "The request body submitted was malformed JSON and could not be parsed by the "+
			"receiving service.")
	case path == "/redfish":
		return reply{status: http.StatusOK, body: obj{"v1": "/redfish/v1/"}}
	case path == sessionsPath && r.Method == http.MethodPost:
		return c.openSession(p)
	case path != root && !c.allowed(r):
		return fail(http.StatusUnauthorized, "ResourceAtUriUnauthorized", "While accessing the resource at %s, the service received an "+
			"authorization error.", path)
	case strings.HasPrefix(path, sessionsPath+"/") && r.Method == http.MethodDelete:
		return c.closeSession(path)
	}
	s := c.machine.server
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.advance()
	c.settleTasks(now)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		o, ok := c.get(path, now)
		if !ok {
			return notFound(path)
		}
		tag := c.etag()
		o["@odata.etag"] = tag
		return reply{status: http.StatusOK, body: o}.with("ETag", tag)
	case http.MethodPatch:
		return c.patch(r, path, p.json)
	case http.MethodPost:
		return c.post(path, p)
	}
	return fail(http.StatusMethodNotAllowed, "OperationNotAllowed", "The HTTP method is not allowed on this resource.")
}

func (c *Controller) etag() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strconv.Quote(strconv.Itoa(c.revision))
}

// changed counts a change, so that older ETags no longer match, and answers as the kind of controller does.
func (c *Controller) changed() reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision++
	if c.machine.Slot == 0 {
		return reply{status: http.StatusNoContent}
	}
	return reply{status: http.StatusOK, body: obj{"@Message.ExtendedInfo": []any{obj{
		"@odata.type": "#Message.v1_1_1.Message", "MessageId": "Base.1.18.1.Success", "Message": "The request completed " +
			"successfully.", "MessageSeverity": "OK",
	}}}}
}

func (c *Controller) patch(r *http.Request, path string, body obj) reply {
	m, n := c.machine, c.machine.names()
	match := r.Header.Get("If-Match")
	switch {
	case match != "" && match != "*" && match != c.etag():
		return fail(http.StatusPreconditionFailed, "PreconditionFailed", "The ETag supplied did not match the ETag required to change this resource.")
	case match == "" && c.lying("etag-required"):
		return fail(http.StatusPreconditionRequired, "PreconditionRequired", "A precondition header or annotation is required to change this resource.")
	}
	switch path {
	case n.system:
		if m.Slot > 0 && c.lying("settings-only") {
			return fail(http.StatusBadRequest, "PropertyNotWritable", "The property Boot is a read only property and cannot be assigned a value.")
		}
		return c.patchSystem(body)
	case n.system + "/Settings":
		if m.Slot > 0 {
			return c.patchSystem(body)
		}
	case n.system + "/Bios/Settings":
		return c.patchBios(body)
	case n.system + "/SecureBoot":
		on, ok := body["SecureBootEnable"].(bool)
		if !ok {
			return badValue("SecureBootEnable", body["SecureBootEnable"])
		}
		m.config.secureNext = on
		return c.changed()
	case n.manager:
		at, err := time.Parse(time.RFC3339, fmt.Sprint(body["DateTime"]))
		if err != nil {
			return badValue("DateTime", body["DateTime"])
		}
		m.config.clock = time.Until(at)
		return c.changed()
	case n.manager + "/Oem/Nvidia":
		if m.Slot > 0 {
			rshim, _ := body["BmcRShim"].(obj)
			on, ok := rshim["BmcRShimEnabled"].(bool)
			if !ok {
				return badValue("BmcRShimEnabled", rshim["BmcRShimEnabled"])
			}
			m.config.bmcRshim = on
			return c.changed()
		}
	}
	return notFound(path)
}

func badValue(property string, v any) reply {
	return fail(http.StatusBadRequest, "PropertyValueNotInList", "The value '%v' for the property %s is not in the list of acceptable values.", v, property)
}

func (c *Controller) patchSystem(body obj) reply {
	m := c.machine
	if lamp, ok := body["LocationIndicatorActive"].(bool); ok {
		m.config.lamp = lamp
	}
	boot, ok := body["Boot"].(obj)
	if !ok {
		return c.changed()
	}
	next := m.boot
	for key, field := range map[string]*string{
		"BootSourceOverrideEnabled": &next.enabled, "BootSourceOverrideTarget": &next.target, "BootSourceOverrideMode": &next.mode,
	} {
		v, has := boot[key]
		if !has {
			continue
		}
		allowed := map[string][]string{
			"BootSourceOverrideEnabled": {"Once", "Continuous", "Disabled"}, "BootSourceOverrideTarget": m.names().targets, "BootSourceOverrideMode": {"Legacy", "UEFI"},
		}[key]
		text, _ := v.(string)
		if !slices.Contains(allowed, text) {
			return badValue(key, v)
		}
		*field = text
	}
	if !c.lying("boot-forgotten") {
		m.boot = next
	}
	return c.changed()
}

func (c *Controller) patchBios(body obj) reply {
	m := c.machine
	attributes, _ := body["Attributes"].(obj)
	if len(attributes) == 0 {
		return fail(http.StatusBadRequest, "PropertyMissing", "The property Attributes is a required property and must be included in the request.")
	}
	for k := range attributes {
		if _, ok := m.config.bios[k]; !ok {
			return fail(http.StatusBadRequest, "PropertyUnknown", "The property %s is not in the list of valid properties for the resource.", k)
		}
	}
	for k, v := range attributes {
		m.config.biosNext = set(m.config.biosNext, k, v)
	}
	return c.changed()
}

func (c *Controller) post(path string, p payload) reply {
	m, n := c.machine, c.machine.names()
	switch path {
	case n.system + "/Actions/ComputerSystem.Reset":
		return c.reset(p.json)
	case n.manager + "/Actions/Manager.Reset":
		if m.config.activate() {
			m.config.copying = time.Now().Add(m.server.timing.Copy)
		}
		m.Version = firstOf(m.config.firmware["BMC_Firmware"], m.config.firmware["BMC"])
		c.restarted()
		return c.changed()
	case n.system + "/Bios/Actions/Bios.ResetBios":
		defaults := hostSettings.bios
		if m.Slot > 0 {
			defaults = cardSettings.bios
		}
		m.config.biosNext = maps.Clone(defaults)
		return c.changed()
	case n.system + "/SecureBoot/Actions/SecureBoot.ResetKeys":
		if kind := p.json["ResetKeysType"]; kind != "ResetAllKeysToDefault" && kind != "DeleteAllKeys" {
			return badValue("ResetKeysType", kind)
		}
		return c.changed()
	case root + "/UpdateService/Actions/UpdateService.SimpleUpdate":
		return c.simpleUpdate(p.json)
	case root + "/UpdateService/update", root + "/UpdateService/update-multipart":
		return c.pushUpdate(p)
	}
	if m.Slot > 0 {
		return c.postCard(path, p.json)
	}
	media := n.manager + "/VirtualMedia/"
	id, action, _ := strings.Cut(strings.TrimPrefix(path, media), "/Actions/")
	if !strings.HasPrefix(path, media) || id != "CD" && id != "RemovableDisk" {
		return notFound(path)
	}
	switch action {
	case "VirtualMedia.InsertMedia":
		image, _ := p.json["Image"].(string)
		if image == "" {
			return fail(http.StatusBadRequest, "ActionParameterMissing", "The action InsertMedia requires the parameter Image to be present in "+
				"the request body.")
		}
		m.config.media = set(m.config.media, id, image)
	case "VirtualMedia.EjectMedia":
		m.config.media = maps.Clone(m.config.media)
		delete(m.config.media, id)
	default:
		return notFound(path)
	}
	return c.changed()
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

func (c *Controller) reset(body obj) reply {
	kind, _ := body["ResetType"].(string)
	for _, l := range c.told() {
		if l.reset == nil {
			continue
		}
		if a, done := l.reset(c, kind); done {
			return a
		}
	}
	if !c.machine.command(kind) {
		return badValue("ResetType", body["ResetType"])
	}
	return c.changed()
}

// postCard serves the actions that only a BlueField has.
func (c *Controller) postCard(path string, body obj) reply {
	m, oem := c.machine, c.machine.names().system+"/Oem/Nvidia"
	switch path {
	case oem + "/Actions/Mode.Set":
		mode, _ := body["Mode"].(string)
		if mode != "DpuMode" && mode != "NicMode" {
			return badValue("Mode", body["Mode"])
		}
		m.config.modeNext = mode
	case oem + "/Actions/HostRshim.Set":
		v, _ := body["HostRshim"].(string)
		if v != "Enabled" && v != "Disabled" {
			return badValue("HostRshim", body["HostRshim"])
		}
		m.config.hostRshim = v
	case oem + "/SOC.ForceReset":
		m.command("ForceRestart")
	case oem + "/Connectx/ExternalHostPrivileges/Actions/ExternalHostPrivileges.Set":
		for k, v := range body {
			text, _ := v.(string)
			if _, ok := m.config.privileges[k]; !ok || !slices.Contains([]string{"Default", "Enabled", "Disabled"}, text) {
				return badValue(k, v)
			}
			m.config.privileges = set(m.config.privileges, k, text)
		}
	default:
		return notFound(path)
	}
	return c.changed()
}
