package bmc

import (
	"net/http"
	"strings"
)

// change is a lie that alters a resource before it is sent.
func change(edit func(path string, o obj)) answerLie {
	return func(_ *Controller, _ http.ResponseWriter, r *http.Request, a *reply) bool {
		o, ok := a.body.(obj)
		if ok && r.Method == http.MethodGet && a.status == http.StatusOK && !strings.HasPrefix(r.URL.Path, sessionsPath) {
			edit(r.URL.Path, o)
		}
		return false
	}
}

func replace(o obj, key string, v any) {
	if _, ok := o[key]; ok {
		o[key] = v
	}
}

func wrongTypes(_ string, o obj) {
	for k, v := range o {
		switch v := v.(type) {
		case string:
			if !strings.HasPrefix(k, "@") {
				o[k] = len(v)
			}
		case bool:
			o[k] = "yes"
		case int, float64:
			o[k] = "many"
		case obj:
			if _, isLink := v["@odata.id"]; !isLink {
				o[k] = []any{v}
			}
		}
	}
}

func allNull(_ string, o obj) {
	for k := range o {
		o[k] = nil
	}
}

func duplicateMembers(_ string, o obj) {
	if l, ok := o["Members"].([]any); ok {
		o["Members"] = append(append([]any{}, l...), l...)
	}
}

func memberLoop(path string, o obj) {
	if _, ok := o["Members"]; ok {
		o["Members@odata.nextLink"] = path
	}
}

// relink gives every link in v, members and actions included, another form.
func relink(v any, form func(string) string) {
	switch v := v.(type) {
	case obj:
		for k, e := range v {
			if s, ok := e.(string); ok && (k == "@odata.id" || k == "target") {
				v[k] = form(s)
				continue
			}
			relink(e, form)
		}
	case []any:
		for _, e := range v {
			relink(e, form)
		}
	}
}

func foreignLinks(_ string, o obj) {
	relink(o, func(s string) string { return "http://169.254.169.254" + s })
}

func escapingLinks(_ string, o obj) {
	relink(o, func(s string) string { return "//127.0.0.2:9/../.." + s })
}

// nestAllowable wraps each list of allowable values in another one.
func nestAllowable(_ string, o obj) {
	for k, v := range o {
		if strings.HasSuffix(k, "AllowableValues") {
			o[k] = []any{v}
		}
		switch v := v.(type) {
		case obj:
			nestAllowable("", v)
		case []any:
			for _, e := range v {
				if e, ok := e.(obj); ok {
					nestAllowable("", e)
				}
			}
		}
	}
}

func withoutResets(_ string, o obj) {
	actions, _ := o["Actions"].(obj)
	if reset, ok := actions["#ComputerSystem.Reset"].(obj); ok {
		delete(reset, "ResetType@Redfish.AllowableValues")
		delete(reset, "@Redfish.ActionInfo")
	}
}

func secondSystem(path string, o obj) {
	if path == root+"/Systems" {
		l, _ := o["Members"].([]any)
		o["Members"] = append(append([]any{}, l...), link(root+"/Systems/Ghost"))
	}
}

func noIdentity(_ string, o obj) {
	replace(o, "SerialNumber", "N/A")
	replace(o, "UUID", "")
	replace(o, "PartNumber", "   ")
	replace(o, "BaseMAC", nil)
	replace(o, "BaseGUID", "")
}

func copiedSerials(path string, o obj) {
	if strings.HasSuffix(path, "/PCIeDevices/0-31") {
		o["SerialNumber"], o["PartNumber"], o["Manufacturer"] = padded("MT2313X00001"), "900-9D3B6-00CV-AA0", "KIOXIA Corporation"
	}
}

// scpOnly is what a BlueField with an old controller says.
func scpOnly(_ string, o obj) {
	actions, _ := o["Actions"].(obj)
	if simple, ok := actions["#UpdateService.SimpleUpdate"].(obj); ok {
		simple["TransferProtocol@Redfish.AllowableValues"] = []any{[]any{"SCP"}}
	}
}

// flapping tells the opposite of the power state each nth time.
func flapping(nth int) answerLie {
	return func(c *Controller, _ http.ResponseWriter, _ *http.Request, a *reply) bool {
		o, ok := a.body.(obj)
		if state, has := o["PowerState"].(string); ok && has && o["BootProgress"] != nil {
			c.mu.Lock()
			c.serial++
			turn := c.serial%nth == 0
			c.mu.Unlock()
			if turn {
				o["PowerState"] = map[string]string{"On": "Off", "Off": "On"}[state]
			}
		}
		return false
	}
}

func conflictOnce(c *Controller, _ string) (reply, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conflicted {
		return reply{}, false
	}
	c.conflicted = true
	return fail(http.StatusConflict, "ActionParameterValueConflict", "The parameter ResetType conflicts with the current state of the resource."), true
}

func refuseWithAct(c *Controller, kind string) (reply, bool) {
	c.machine.command(kind)
	return fail(http.StatusBadRequest, "ActionParameterValueError", "The value of the parameter ResetType is invalid."), true
}

func refuse(kind string) func(*Controller, string) (reply, bool) {
	return func(_ *Controller, asked string) (reply, bool) {
		return fail(http.StatusBadRequest, "ActionParameterNotSupported", "The parameter %s for the action Reset is not supported on the target "+
			"resource.", asked), asked == kind
	}
}

func warmOnly(c *Controller, kind string) (reply, bool) {
	if kind != "PowerCycle" {
		return reply{}, false
	}
	c.machine.command("ForceRestart")
	return reply{status: http.StatusOK}, true
}
