package baremetal

import (
	_ "embed" // for the description
	"net/http"

	"github.com/riser-project/riser/api/rest"
)

func (s *service) rootRoutes() []rest.Route {
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/", Public: true, Lenient: true, Handler: s.discover},
		{Method: http.MethodGet, Pattern: "/v1", Public: true, Handler: s.describe},
		{Method: http.MethodGet, Pattern: "/v1/openapi.yaml", Public: true, Lenient: true, Handler: s.showOpenAPI},
	}
}

// resources are the resources that /v1 tells of, with the microversion of each.
var resources = []struct {
	name  string
	since int
}{
	{"chassis", 1}, {"nodes", 1}, {"ports", 1}, {"drivers", 1}, {"portgroups", mvPortgroups}, {"volume", mvVolume}, {"lookup", mvLookup},
	{"heartbeat", mvLookup}, {"conductors", mvConductors}, {"allocations", mvAllocations}, {"events", mvEvents}, {"deploy_templates", mvTemplates},
	{"shards", mvShards}, {"runbooks", mvRunbooks}, {"inspection_rules", mvInspectionRules}, {"continue_inspection", mvContinue},
}

type object = map[string]any

func versionObject(base string) object {
	return object{
		"id": "v1", "status": "CURRENT", "min_version": versions.Format(versions.Min), "version": versions.Format(versions.Max),
		"links": []any{object{"href": base + "/v1/", "rel": "self"}},
	}
}

// discover answers GET / (API discovery).
func (s *service) discover(r *rest.Request) (*rest.Response, error) {
	version := versionObject(r.Endpoint())
	return rest.OK(rest.AppendValue(nil, object{
		"name":            "OpenStack Ironic API",
		"description":     "Bare-metal machines, and the DPUs inside them, served by riser.",
		"default_version": version,
		"versions":        []any{version},
	})), nil
}

// describe answers GET /v1.
func (s *service) describe(r *rest.Request) (*rest.Response, error) {
	base := r.Endpoint()
	doc := object{
		"id": "v1",
		"links": []any{
			object{"href": base + "/v1/", "rel": "self"},
			object{"href": "https://docs.openstack.org//ironic/latest/contributor//webapi.html", "rel": "describedby", "type": "text/html"},
		},
		"media_types": object{"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"},
		"version":     versionObject(base),
	}
	for _, res := range resources {
		if r.Version >= res.since {
			doc[res.name] = &links{base: base, path: res.name}
		}
	}
	return rest.OK(rest.AppendValue(nil, doc)), nil
}

// OpenAPI is the description of this API (OpenAPI 3.1), in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// showOpenAPI answers GET /v1/openapi.yaml.
func (s *service) showOpenAPI(*rest.Request) (*rest.Response, error) {
	return &rest.Response{Status: http.StatusOK, ContentType: "application/yaml", Body: OpenAPI}, nil
}
