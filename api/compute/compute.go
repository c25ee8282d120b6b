// Package compute serves a subset of the OpenStack Compute API v2.1 (Nova) under /compute/v2.1: servers and their interfaces, flavors, hypervisors
// and services, enough to run instances with remote-managed ports without a Nova.
//
// What a client may not use here is refused, not ignored, unless it only concerns how a guest is set up: key_name, user_data, personality and
// the like are taken and have no effect.
package compute

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/instance"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

// Options says what the API works on. DB, Runner and Placer must be set.
type Options struct {
	DB     *store.DB
	Runner *instance.Runner
	Placer *placement.Placer

	Auth     rest.Authenticator // nil means rest.Anyone
	Policy   rest.Policy        // nil allows everything
	Endpoint string             // URL that links start with; empty means the one the client used
	Observe  func(method, pattern string, status int, took time.Duration)
	Log      *slog.Logger // nil means slog.Default
}

// Prefix is the path under which New's handler serves.
const Prefix = "/compute/"

const root = "/compute/v2.1"

// Minor versions that change something here.
const (
	vLocked         = 9  // locked in a server
	vEvacuateBare   = 14 // evacuate answers without a password
	vHostStatus     = 16 // host_status
	vDescription    = 19 // description of a server
	vMigrationType  = 23 // migration_type of a migration
	vTags           = 26 // tags of a server
	vNetworks       = 37 // networks must be given
	vFlavorInside   = 47 // the flavor is shown whole inside a server
	vServiceUUID    = 53 // services and hypervisors have UUIDs
	vFlavorText     = 55 // description of a flavor
	vMigrateHost    = 56 // host of a cold migration
	vMigrationUUID  = 59 // uuid of a migration
	vFlavorSpecs    = 61 // extra_specs of a flavor
	vCertificates   = 63 // trusted_image_certificates
	vAttachTag      = 70 // tag of an attached interface
	vServerGroups   = 71 // server_groups
	vLockedReason   = 73 // locked_reason
	vRequestHost    = 74 // host and hypervisor_hostname in a request
	vMigrationOwner = 80 // user_id and project_id of a migration
	vLeanHypervisor = 88 // hypervisors without their load
	maxMinor        = 96
)

var versions = rest.Versions{
	Service: "compute", Header: "X-OpenStack-Nova-API-Version", Standard: true, Major: 2, Min: 1, Max: maxMinor, Default: 1,
}

type api struct{ o Options }

// New returns the API as a handler of Prefix.
func New(o Options) http.Handler {
	a := &api{o}
	return rest.New(rest.API{
		Routes: a.routes(), Versions: &versions, Auth: o.Auth, Policy: o.Policy, Endpoint: o.Endpoint, Observe: o.Observe, Log: o.Log, Envelope: envelope,
	})
}

// routes is the table of calls. Rules are named as Nova's policies are.
func (a *api) routes() []rest.Route {
	anyQuery := []string{rest.AnyQuery} // Nova ignores what it does not know
	return []rest.Route{
		{Method: "GET", Pattern: "/compute", Public: true, Lenient: true, Handler: a.versions},
		{Method: "GET", Pattern: root, Public: true, Lenient: true, Handler: a.version},

		{Method: "GET", Pattern: root + "/servers", Policy: "os_compute_api:servers:index", Query: anyQuery, Handler: a.listServers},
		{Method: "GET", Pattern: root + "/servers/detail", Policy: "os_compute_api:servers:detail", Query: anyQuery, Handler: a.detailServers},
		{Method: "POST", Pattern: root + "/servers", Policy: "os_compute_api:servers:create", Handler: a.createServer},
		{Method: "GET", Pattern: root + "/servers/{id}", Policy: "os_compute_api:servers:show", Handler: a.showServer},
		{Method: "PUT", Pattern: root + "/servers/{id}", Policy: "os_compute_api:servers:update", Handler: a.updateServer},
		{Method: "DELETE", Pattern: root + "/servers/{id}", Policy: "os_compute_api:servers:delete", Handler: a.deleteServer},
		{Method: "POST", Pattern: root + "/servers/{id}/action", Policy: "os_compute_api:servers:action", Handler: a.act},
		{Method: "GET", Pattern: root + "/servers/{id}/explain", Policy: "os_compute_api:servers:show", Handler: a.explainServer},

		{Method: "GET", Pattern: root + "/servers/{id}/os-interface", Policy: "os_compute_api:os-attach-interfaces:list", Query: anyQuery, Handler: a.listInterfaces},
		{Method: "POST", Pattern: root + "/servers/{id}/os-interface", Policy: "os_compute_api:os-attach-interfaces:create", Handler: a.attachInterface},
		{Method: "GET", Pattern: root + "/servers/{id}/os-interface/{port}", Policy: "os_compute_api:os-attach-interfaces:show", Handler: a.showInterface},
		{Method: "DELETE", Pattern: root + "/servers/{id}/os-interface/{port}", Policy: "os_compute_api:os-attach-interfaces:delete", Handler: a.detachInterface},

		{Method: "GET", Pattern: root + "/flavors", Policy: "os_compute_api:flavors", Query: anyQuery, Handler: a.listFlavors},
		{Method: "GET", Pattern: root + "/flavors/detail", Policy: "os_compute_api:flavors", Query: anyQuery, Handler: a.detailFlavors},
		{Method: "POST", Pattern: root + "/flavors", Policy: "os_compute_api:os-flavor-manage:create", Handler: a.createFlavor},
		{Method: "GET", Pattern: root + "/flavors/{id}", Policy: "os_compute_api:flavors", Query: anyQuery, Handler: a.showFlavor},
		{Method: "DELETE", Pattern: root + "/flavors/{id}", Policy: "os_compute_api:os-flavor-manage:delete", Handler: a.deleteFlavor},
		{Method: "GET", Pattern: root + "/flavors/{id}/os-extra_specs", Policy: "os_compute_api:os-flavor-extra-specs:index", Handler: a.extraSpecs},

		{Method: "GET", Pattern: root + "/os-hypervisors", Policy: "os_compute_api:os-hypervisors:list", Query: anyQuery, Handler: a.listHypervisors},
		{Method: "GET", Pattern: root + "/os-hypervisors/detail", Policy: "os_compute_api:os-hypervisors:list-detail", Query: anyQuery, Handler: a.detailHypervisors},
		{Method: "GET", Pattern: root + "/os-hypervisors/{id}", Policy: "os_compute_api:os-hypervisors:show", Query: anyQuery, Handler: a.showHypervisor},
		{Method: "GET", Pattern: root + "/os-services", Policy: "os_compute_api:os-services:list", Query: anyQuery, Handler: a.listServices},
		{Method: "PUT", Pattern: root + "/os-services/{id}", Policy: "os_compute_api:os-services:update", Since: vServiceUUID, Handler: a.updateService},

		{Method: "GET", Pattern: root + "/os-migrations", Policy: "os_compute_api:os-migrations:index", Query: anyQuery, Handler: a.listMigrations},
		{Method: "POST", Pattern: root + "/os-server-external-events", Policy: "os_compute_api:os-server-external-events:create", Handler: a.takeEvents},

		{Method: "GET", Pattern: root + "/os-availability-zone", Policy: "os_compute_api:os-availability-zone:list", Handler: a.zones},
		{Method: "GET", Pattern: root + "/extensions", Policy: "os_compute_api:extensions", Handler: empty("extensions")},
		{Method: "GET", Pattern: root + "/os-keypairs", Policy: "os_compute_api:os-keypairs:index", Query: anyQuery, Handler: empty("keypairs")},
		{Method: "GET", Pattern: root + "/os-server-groups", Policy: "os_compute_api:os-server-groups:index", Query: anyQuery, Handler: empty("server_groups")},
		{Method: "GET", Pattern: root + "/os-aggregates", Policy: "os_compute_api:os-aggregates:index", Handler: empty("aggregates")},
	}
}

// faults are the names of errors by their status.
var faults = map[int]string{
	http.StatusBadRequest: "badRequest", http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden", http.StatusNotFound: "itemNotFound",
	http.StatusMethodNotAllowed: "badMethod", http.StatusConflict: "conflictingRequest", http.StatusRequestEntityTooLarge: "overLimit",
	http.StatusUnsupportedMediaType: "badMediaType", http.StatusServiceUnavailable: "serviceUnavailable",
}

// envelope writes an error as Nova does.
func envelope(f *rest.Failure) []byte {
	name := faults[f.Status]
	if name == "" {
		name = "computeFault"
	}
	text := f.Error()
	if f.Stage == rest.Routing && f.Text == "" && f.Status == http.StatusNotFound {
		text = "The resource could not be found."
	}
	return object(name, map[string]any{"code": f.Status, "message": text})
}

// object returns {"key": v} in JSON.
func object(key string, v any) []byte { return rest.AppendValue(nil, map[string]any{key: v}) }

// empty answers with a list of what riser does not have.
func empty(key string) rest.Handler {
	return func(*rest.Request) (*rest.Response, error) { return rest.OK(object(key, []any{})), nil }
}

func (a *api) describe(r *rest.Request) map[string]any {
	return map[string]any{
		"id": "v2.1", "status": "CURRENT", "version": versions.Format(versions.Max), "min_version": versions.Format(versions.Min),
		"updated": "2013-07-23T11:33:21Z", "links": []any{map[string]any{"rel": "self", "href": r.Endpoint() + root + "/"}},
	}
}

func (a *api) versions(r *rest.Request) (*rest.Response, error) {
	return rest.OK(object("versions", []any{a.describe(r)})), nil
}

func (a *api) version(r *rest.Request) (*rest.Response, error) {
	d := a.describe(r)
	d["media-types"] = []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}}
	return rest.OK(object("version", d)), nil
}

// scope returns the project whose objects the subject may list, or nothing for all.
func scope(r *rest.Request) string {
	if r.Subject.System || r.Subject.Anonymous {
		return ""
	}
	return r.Subject.Project
}

func links(r *rest.Request, kind, id string) []any {
	return []any{
		map[string]any{"rel": "self", "href": r.Endpoint() + root + "/" + kind + "/" + id},
		map[string]any{"rel": "bookmark", "href": r.Endpoint() + "/compute/" + kind + "/" + id},
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// stamp writes a time as Nova does: to the second, in UTC.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}
