package baremetal

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
)

func (s *service) vendorRoutes() []rest.Route {
	const base, policy = "/v1/nodes/{node}/vendor_passthru", "baremetal:node:vendor_passthru"
	routes := []rest.Route{{Method: http.MethodGet, Pattern: base + "/methods", Policy: policy, Handler: s.listMethods}}
	for _, method := range anyMethod {
		routes = append(routes,
			rest.Route{Method: method, Pattern: base, Policy: policy, Query: []string{rest.AnyQuery}, Handler: s.callMethod},
			rest.Route{Method: method, Pattern: base + "/{method}", Policy: policy, Query: []string{rest.AnyQuery}, Handler: s.callMethod})
	}
	return routes
}

// anyMethod are the HTTP methods that a vendor method may be called by.
var anyMethod = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// methods are the vendor methods of the node's vendor interface.
func (s *service) methods(n *node.Node) []driver.VendorMethod {
	lister, ok := s.intake.Drivers[n.Driver].(driver.VendorLister)
	if !ok {
		return nil
	}
	return lister.VendorMethods(n.Interfaces[node.Vendor])
}

// listMethods answers GET /v1/nodes/{node}/vendor_passthru/methods.
func (s *service) listMethods(r *rest.Request) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	o := object{}
	for _, m := range s.methods(n) {
		o[m.Name] = object{
			"http_methods": append([]string{}, m.Methods...), "async": m.Async, "description": m.Description, "attach": false,
			"require_exclusive_lock": !m.Shared,
		}
	}
	return rest.OK(rest.AppendValue(nil, o)), nil
}

// callMethod answers every HTTP method on /v1/nodes/{node}/vendor_passthru/{method} and /vendor_passthru?method=.
func (s *service) callMethod(r *rest.Request) (*rest.Response, error) {
	name := r.PathValue("method")
	args, err := r.Object(true)
	if err != nil {
		return nil, err
	}
	for k, v := range r.Query() {
		if k == "method" && name == "" {
			name = v[0]
			continue
		}
		if _, inBody := args[k]; !inBody {
			args[k] = v[0]
		}
	}
	if name == "" {
		return nil, invalid("Method not specified when calling vendor extension.")
	}
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	methods := s.methods(n)
	i := slices.IndexFunc(methods, func(m driver.VendorMethod) bool { return m.Name == name })
	if i < 0 {
		return nil, invalid("No handler for method %s", name)
	}
	m := methods[i]
	if !slices.Contains(m.Methods, r.Method) {
		return nil, invalid("The method %s does not support HTTP %s: it takes %s.", name, r.Method, strings.Join(m.Methods, ", "))
	}
	answer, err := s.call(r, n, "call_vendor", "vendor", node.Object{"method": name, "http_method": r.Method, "args": maps.Clone(args)})
	switch {
	case err != nil:
		return nil, err
	case m.Async:
		return rest.Accepted(""), nil
	}
	return rest.OK(answer), nil
}
