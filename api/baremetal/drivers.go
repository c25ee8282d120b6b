package baremetal

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) driverRoutes() []rest.Route {
	const get = "baremetal:driver:get"
	const vendor = "baremetal:driver:vendor_passthru"
	routes := []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/drivers", Policy: get, Query: []string{"type", "detail", "fields"}, Handler: s.listDrivers},
		{Method: http.MethodGet, Pattern: "/v1/drivers/{driver}", Policy: get, Query: []string{"fields"}, Handler: s.showDriver},
		{Method: http.MethodGet, Pattern: "/v1/drivers/{driver}/properties", Policy: "baremetal:driver:get_properties", Handler: s.showDriverProperties},
		{Method: http.MethodGet, Pattern: "/v1/drivers/{driver}/raid/logical_disk_properties", Since: mvRAID, Policy: "baremetal:driver:get_raid_logical_disk_properties", Handler: s.showDriverRAID},
		{Method: http.MethodGet, Pattern: "/v1/drivers/{driver}/vendor_passthru/methods", Policy: vendor, Handler: s.listDriverMethods},
	}
	for _, method := range anyMethod {
		routes = append(routes,
			rest.Route{Method: method, Pattern: "/v1/drivers/{driver}/vendor_passthru", Policy: vendor, Query: []string{rest.AnyQuery}, Handler: s.callDriver},
			rest.Route{Method: method, Pattern: "/v1/drivers/{driver}/vendor_passthru/{method}", Policy: vendor, Query: []string{rest.AnyQuery}, Handler: s.callDriver})
	}
	return routes
}

// hardware returns the hosts of the live conductors by the hardware types that they serve and this process knows.
func (s *service) hardware(r *rest.Request) (map[string][]string, error) {
	types := map[string][]string{}
	err := s.read(r, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Conductors(ctx, aliveFor)
		for _, c := range list {
			for _, name := range c.Drivers {
				if c.Alive && s.intake.Drivers[name] != nil && !slices.Contains(types[name], c.Hostname) {
					types[name] = append(types[name], c.Hostname)
				}
			}
		}
		return err
	})
	return types, err
}

// hardwareType returns the name and hosts of the driver that the path names.
func (s *service) hardwareType(r *rest.Request) (name string, hosts []string, err error) {
	types, err := s.hardware(r)
	if err != nil {
		return "", nil, err
	}
	name = r.PathValue("driver")
	hosts, ok := types[name]
	if !ok {
		return "", nil, fault.New(fault.NotFound, "Could not find the following driver(s) or hardware type(s): %s.", name)
	}
	return name, hosts, nil
}

// driverObject is a driver as the version in force shows it; whole asks for its interfaces too.
func (s *service) driverObject(r *rest.Request, name string, hosts []string, whole bool) object {
	base := r.Endpoint()
	o := object{"name": name, "hosts": hosts, "links": &links{base: base, path: "drivers", id: name}}
	if r.Version >= mvStatesLink {
		o["properties"] = &links{base: base, path: "drivers", id: name, part: "/properties"}
	}
	if r.Version < mvDynamicDrivers {
		return o
	}
	o["type"] = "dynamic"
	if !whole {
		return o
	}
	for _, kind := range node.AllInterfaces {
		if since := interfaceSince[kind]; since > r.Version && since > mvInterfaces {
			continue // the first eight kinds were shown here one version before nodes had them
		}
		enabled := slices.DeleteFunc(slices.Clone(s.supported(name, kind)), func(impl string) bool { return !s.enabled(kind, impl) })
		o["enabled_"+string(kind)+"_interfaces"] = enabled
		o["default_"+string(kind)+"_interface"] = orNil(s.defaultInterface(name, kind))
	}
	return o
}

// listDrivers answers GET /v1/drivers.
func (s *service) listDrivers(r *rest.Request) (*rest.Response, error) {
	q := r.Query()
	if q.Has("type") || q.Has("detail") {
		if err := need(r, mvDynamicDrivers); err != nil {
			return nil, err
		}
	}
	if kind := q.Get("type"); kind != "" && kind != "classic" && kind != "dynamic" {
		return nil, invalid("\"type\" filter must be one of \"classic\" or \"dynamic\", if specified.")
	}
	detail, err := queryBool(q, "detail")
	if err != nil {
		return nil, err
	}
	whole := detail != nil && *detail
	fields, err := driverFields(r, whole)
	if err != nil {
		return nil, err
	}
	types, err := s.hardware(r)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		if q.Get("type") == "classic" {
			break
		}
		o, err := cutDriver(s.driverObject(r, name, types[name], whole || fields != nil), fields)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return rest.OK(rest.AppendValue(nil, object{"drivers": list})), nil
}

func driverFields(r *rest.Request, whole bool) ([]string, error) {
	if !r.Query().Has("fields") {
		return nil, nil
	}
	if err := need(r, mvDriverFields); err != nil {
		return nil, err
	}
	if whole {
		return nil, invalid("Can't fetch a subset of fields with 'detail' set")
	}
	return rest.SplitFields(r.Query().Get("fields")), nil
}

// cutDriver returns o with only the named fields and its links.
func cutDriver(o object, fields []string) (object, error) {
	if fields == nil {
		return o, nil
	}
	cut := object{"links": o["links"]}
	for _, f := range fields {
		v, ok := o[f]
		if !ok {
			return nil, invalid("Field %s is not a valid field.", f)
		}
		cut[f] = v
	}
	return cut, nil
}

// showDriver answers GET /v1/drivers/{driver}.
func (s *service) showDriver(r *rest.Request) (*rest.Response, error) {
	fields, err := driverFields(r, false)
	if err != nil {
		return nil, err
	}
	name, hosts, err := s.hardwareType(r)
	if err != nil {
		return nil, err
	}
	o, err := cutDriver(s.driverObject(r, name, hosts, true), fields)
	if err != nil {
		return nil, err
	}
	return rest.OK(rest.AppendValue(nil, o)), nil
}

// showDriverProperties answers GET /v1/drivers/{driver}/properties.
func (s *service) showDriverProperties(r *rest.Request) (*rest.Response, error) {
	name, _, err := s.hardwareType(r)
	if err != nil {
		return nil, err
	}
	o := object{}
	for _, p := range s.intake.Drivers[name].Properties() {
		o[p.Key] = p.Description
	}
	return rest.OK(rest.AppendValue(nil, o)), nil
}

// logicalDisk is what a logical disk in a target RAID configuration may say.
var logicalDisk = object{
	"size_gb":                  "Size in GiB (Integer) for the logical disk. Use 'MAX' as size_gb if this logical disk is supposed to use the rest of the space. Required.",
	"raid_level":               "RAID level for the logical disk: JBOD, 0, 1, 2, 5, 6, 1+0, 5+0, 6+0. Required.",
	"is_root_volume":           "Whether this is the root volume. At most one logical disk can be one. Optional.",
	"share_physical_disks":     "Whether other logical disks may use the physical disks of this one. Optional.",
	"disk_type":                "Type of the physical disks: hdd or ssd. Optional.",
	"interface_type":           "Interface of the physical disks: sata, scsi or sas. Optional.",
	"number_of_physical_disks": "Number of physical disks to use. Optional.",
	"controller":               "RAID controller to use. Optional.",
	"physical_disks":           "Physical disks to use. Optional.",
	"volume_name":              "Name of the volume to create. Optional.",
}

// showDriverRAID answers GET /v1/drivers/{driver}/raid/logical_disk_properties.
func (s *service) showDriverRAID(r *rest.Request) (*rest.Response, error) {
	name, _, err := s.hardwareType(r)
	if err != nil {
		return nil, err
	}
	if s.defaultInterface(name, node.RAID) == "no-raid" {
		return nil, fault.New(fault.NotFound, "Driver %s does not support raid (disabled or not implemented).", name)
	}
	return rest.OK(rest.AppendValue(nil, logicalDisk)), nil
}

// listDriverMethods answers GET /v1/drivers/{driver}/vendor_passthru/methods. No driver has methods of its own: those of its nodes are theirs.
func (s *service) listDriverMethods(r *rest.Request) (*rest.Response, error) {
	if _, _, err := s.hardwareType(r); err != nil {
		return nil, err
	}
	return rest.OK([]byte("{}")), nil
}

// callDriver answers every HTTP method on /v1/drivers/{driver}/vendor_passthru/{method} and /vendor_passthru?method=.
func (s *service) callDriver(r *rest.Request) (*rest.Response, error) {
	if _, _, err := s.hardwareType(r); err != nil {
		return nil, err
	}
	name := r.PathValue("method")
	if name == "" {
		if name = r.Query().Get("method"); name == "" {
			return nil, invalid("Method not specified when calling vendor extension.")
		}
	}
	return nil, invalid("No handler for method %s", name)
}
