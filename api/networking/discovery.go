package networking

import (
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
)

func (a *api) versions(r *rest.Request) (*rest.Response, error) {
	return rest.OK(object("versions", []any{map[string]any{
		"id": "v2.0", "status": "CURRENT", "links": []any{link(r.Endpoint() + root + "/")},
	}})), nil
}

func link(href string) map[string]any { return map[string]any{"rel": "self", "href": href} }

func (a *api) resources(r *rest.Request) (*rest.Response, error) {
	var list []any
	for _, name := range []string{"network", "subnet", "port", "security-group", "security-group-rule", "extension"} {
		key := strings.ReplaceAll(name, "-", "_")
		list = append(list, map[string]any{"name": key, "collection": key + "s", "links": []any{link(r.Endpoint() + root + "/" + name + "s")}})
	}
	return rest.OK(object("resources", list)), nil
}

// extensionList has each extension that is there, by its alias.
var extensionList = []struct{ alias, name, description string }{
	{"binding", "Port Binding", "Expose port bindings of a virtual port to external application"},
	{"binding-extended", "Port Bindings Extended", "A port may have a binding to a second host, which is activated later"},
	{"extra_dhcp_opt", "Neutron Extra DHCP options", "Accepted, and left to the network backend"},
	{"net-mtu", "Network MTU", "The MTU of a network"},
	{"port-numa-affinity-policy", "Port NUMA affinity policy", "The NUMA policy of a port"},
	{"port-security", "Port Security", "Provides port security"},
	{"project-id", "project_id field enabled", "tenant_id is called project_id"},
	{"provider", "Provider Network", "Expose mapping of virtual networks to physical networks"},
	{"security-group", "security-group", "Rules for what ports may send and get"},
	{"stateful-security-group", "Stateful security group", "Security groups that do not follow connections"},
	{"standard-attr-timestamp", "Resource timestamps", "created_at and updated_at"},
}

func describe(i int) map[string]any {
	e := extensionList[i]
	return map[string]any{"alias": e.alias, "name": e.name, "description": e.description, "updated": "2026-11-20T00:00:00-00:00", "links": []any{}}
}

func (a *api) extensions(*rest.Request) (*rest.Response, error) {
	list := make([]any, len(extensionList))
	for i := range extensionList {
		list[i] = describe(i)
	}
	return rest.OK(object("extensions", list)), nil
}

func (a *api) extension(r *rest.Request) (*rest.Response, error) {
	for i, e := range extensionList {
		if e.alias == r.PathValue("alias") {
			return rest.OK(object("extension", describe(i))), nil
		}
	}
	return nil, fault.New(fault.NotFound, "Extension with alias %s does not exist", r.PathValue("alias"))
}
