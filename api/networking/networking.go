// Package networking serves a subset of the OpenStack Networking API v2.0 (Neutron) under /networking/v2.0: networks, subnets, ports, their
// bindings and security groups, enough to run without a Neutron.
//
// It has no microversions: what is there is told by the list of extensions. An attribute that is not known is refused, as Neutron does.
package networking

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// Options says what the API works on. DB and Binding must be set.
type Options struct {
	DB      *store.DB
	Binding *binding.Binder

	Auth     rest.Authenticator // nil means rest.Anyone
	Policy   rest.Policy        // nil allows everything
	Endpoint string             // URL that links start with; empty means the one the client used
	Observe  func(method, pattern string, status int, took time.Duration)
	Log      *slog.Logger // nil means slog.Default
}

// Prefix is the path under which New's handler serves.
const Prefix = "/networking/"

const root = "/networking/v2.0"

type api struct{ o Options }

// New returns the API as a handler of Prefix.
func New(o Options) http.Handler {
	a := &api{o}
	return rest.New(rest.API{
		Routes: a.routes(), Auth: o.Auth, Policy: o.Policy, Endpoint: o.Endpoint, Observe: o.Observe, Log: o.Log, Envelope: envelope,
	})
}

// routes is the table of calls. Rules are named as Neutron's policies are.
func (a *api) routes() []rest.Route {
	anyQuery := []string{rest.AnyQuery} // every attribute may be filtered by
	return []rest.Route{
		{Method: "GET", Pattern: "/networking", Public: true, Handler: a.versions},
		{Method: "GET", Pattern: root, Public: true, Handler: a.resources},
		{Method: "GET", Pattern: root + "/extensions", Policy: "get_extension", Query: anyQuery, Handler: a.extensions},
		{Method: "GET", Pattern: root + "/extensions/{alias}", Policy: "get_extension", Handler: a.extension},

		{Method: "GET", Pattern: root + "/networks", Policy: "get_network", Query: anyQuery, Handler: a.listNetworks},
		{Method: "POST", Pattern: root + "/networks", Policy: "create_network", Handler: a.createNetwork},
		{Method: "GET", Pattern: root + "/networks/{id}", Policy: "get_network", Query: anyQuery, Handler: a.showNetwork},
		{Method: "PUT", Pattern: root + "/networks/{id}", Policy: "update_network", Handler: a.updateNetwork},
		{Method: "DELETE", Pattern: root + "/networks/{id}", Policy: "delete_network", Handler: a.deleteNetwork},

		{Method: "GET", Pattern: root + "/subnets", Policy: "get_subnet", Query: anyQuery, Handler: a.listSubnets},
		{Method: "POST", Pattern: root + "/subnets", Policy: "create_subnet", Handler: a.createSubnet},
		{Method: "GET", Pattern: root + "/subnets/{id}", Policy: "get_subnet", Query: anyQuery, Handler: a.showSubnet},
		{Method: "PUT", Pattern: root + "/subnets/{id}", Policy: "update_subnet", Handler: a.updateSubnet},
		{Method: "DELETE", Pattern: root + "/subnets/{id}", Policy: "delete_subnet", Handler: a.deleteSubnet},

		{Method: "GET", Pattern: root + "/ports", Policy: "get_port", Query: anyQuery, Handler: a.listPorts},
		{Method: "POST", Pattern: root + "/ports", Policy: "create_port", Handler: a.createPort},
		{Method: "GET", Pattern: root + "/ports/{id}", Policy: "get_port", Query: anyQuery, Handler: a.showPort},
		{Method: "PUT", Pattern: root + "/ports/{id}", Policy: "update_port", Handler: a.updatePort},
		{Method: "DELETE", Pattern: root + "/ports/{id}", Policy: "delete_port", Handler: a.deletePort},
		{Method: "GET", Pattern: root + "/ports/{id}/explain", Policy: "get_port", Handler: a.explainPort},

		{Method: "GET", Pattern: root + "/ports/{id}/bindings", Policy: "get_port_binding", Query: anyQuery, Handler: a.listBindings},
		{Method: "POST", Pattern: root + "/ports/{id}/bindings", Policy: "create_port_binding", Handler: a.createBinding},
		{Method: "GET", Pattern: root + "/ports/{id}/bindings/{host}", Policy: "get_port_binding", Query: anyQuery, Handler: a.showBinding},
		{Method: "DELETE", Pattern: root + "/ports/{id}/bindings/{host}", Policy: "delete_port_binding", Handler: a.deleteBinding},
		{Method: "PUT", Pattern: root + "/ports/{id}/bindings/{host}/activate", Policy: "activate_port_binding", Handler: a.activateBinding},

		{Method: "GET", Pattern: root + "/security-groups", Policy: "get_security_group", Query: anyQuery, Handler: a.listGroups},
		{Method: "POST", Pattern: root + "/security-groups", Policy: "create_security_group", Handler: a.createGroup},
		{Method: "GET", Pattern: root + "/security-groups/{id}", Policy: "get_security_group", Query: anyQuery, Handler: a.showGroup},
		{Method: "PUT", Pattern: root + "/security-groups/{id}", Policy: "update_security_group", Handler: a.updateGroup},
		{Method: "DELETE", Pattern: root + "/security-groups/{id}", Policy: "delete_security_group", Handler: a.deleteGroup},

		{Method: "GET", Pattern: root + "/security-group-rules", Policy: "get_security_group_rule", Query: anyQuery, Handler: a.listRules},
		{Method: "POST", Pattern: root + "/security-group-rules", Policy: "create_security_group_rule", Handler: a.createRule},
		{Method: "GET", Pattern: root + "/security-group-rules/{id}", Policy: "get_security_group_rule", Query: anyQuery, Handler: a.showRule},
		{Method: "DELETE", Pattern: root + "/security-group-rules/{id}", Policy: "delete_security_group_rule", Handler: a.deleteRule},
	}
}

// typed is an error with the name that Neutron gives to errors of its kind, by which clients tell them apart.
type typed struct {
	name string
	error
}

func (t typed) Unwrap() error { return t.error }

// as gives an error the name for its kind; names are those for NotFound and Conflict.
func as(err error, notFound, conflict string) error {
	switch {
	case fault.Is(err, fault.NotFound) && notFound != "":
		return typed{notFound, err}
	case fault.Is(err, fault.Conflict) && conflict != "":
		return typed{conflict, err}
	}
	return err
}

func invalid(format string, args ...any) error {
	return typed{"InvalidInput", fault.New(fault.Invalid, "Invalid input for operation: "+format+".", args...)}
}

// envelope writes an error as Neutron does.
func envelope(f *rest.Failure) []byte {
	name := map[int]string{
		http.StatusBadRequest: "HTTPBadRequest", http.StatusForbidden: "HTTPForbidden", http.StatusNotFound: "HTTPNotFound",
		http.StatusMethodNotAllowed: "HTTPMethodNotAllowed", http.StatusConflict: "HTTPConflict",
		http.StatusRequestEntityTooLarge: "HTTPRequestEntityTooLarge", http.StatusServiceUnavailable: "HTTPServiceUnavailable",
	}[f.Status]
	if name == "" {
		name = "HTTPInternalServerError"
	}
	var t typed
	if errors.As(f.Err, &t) {
		name = t.name
	}
	text := f.Error()
	if f.Stage == rest.Routing && f.Text == "" && f.Status == http.StatusNotFound {
		text = "The resource could not be found."
	}
	return object("NeutronError", map[string]any{"type": name, "message": text, "detail": ""})
}

// object returns {"key": v} in JSON.
func object(key string, v any) []byte { return rest.AppendValue(nil, map[string]any{key: v}) }

// scope returns the project whose objects the subject may list, or nothing for all.
func scope(r *rest.Request) string {
	if r.Subject.System || r.Subject.Anonymous {
		return ""
	}
	return r.Subject.Project
}

// body decodes {"key": {...}} into the attributes that the body sets.
func body(r *rest.Request, key string, known map[string]bool) (map[string]json.RawMessage, error) {
	var outer map[string]map[string]json.RawMessage
	if err := r.Decode(&outer); err != nil {
		return nil, err
	}
	attributes, ok := outer[key]
	if !ok || len(outer) != 1 || attributes == nil {
		return nil, typed{"HTTPBadRequest", fault.New(fault.Invalid, "Unable to find '%s' in request body", key)}
	}
	for name := range attributes {
		if !known[name] {
			return nil, typed{"HTTPBadRequest", fault.New(fault.Invalid, "Unrecognized attribute(s) '%s'", name)}
		}
	}
	return attributes, nil
}

// get decodes the attribute name into v, if the body sets it. null leaves v as it is and is reported as set.
func get(attributes map[string]json.RawMessage, name string, v any) (set bool, err error) {
	raw, ok := attributes[name]
	if !ok {
		return false, nil
	}
	if string(raw) == "null" {
		return true, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, invalid("%s: %s is not of the right type", name, raw)
	}
	return true, nil
}

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}
