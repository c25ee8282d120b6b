package baremetal

import (
	"context"
	"net/http"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) targetRoutes() []rest.Route {
	const base = "/v1/nodes/{node}/states"
	return []rest.Route{
		{Method: http.MethodPut, Pattern: base + "/raid", Since: mvRAID, Policy: "baremetal:node:set_raid_state", Handler: s.setRAID},
		{Method: http.MethodGet, Pattern: base + "/console", Policy: "baremetal:node:get_console", Handler: s.showConsole},
		{Method: http.MethodPut, Pattern: base + "/console", Policy: "baremetal:node:set_console_state", Handler: s.setConsole},
		{Method: http.MethodPut, Pattern: base + "/boot_mode", Since: mvSetBootMode, Policy: "baremetal:node:set_boot_mode", Handler: s.setBootMode},
		{Method: http.MethodPut, Pattern: base + "/secure_boot", Since: mvSetBootMode, Policy: "baremetal:node:set_secure_boot", Handler: s.setSecureBoot},
	}
}

var raidLevels = oneOf("JBOD", "0", "1", "2", "5", "6", "1+0", "5+0", "6+0")

// raidRule is the form of a target RAID configuration. An empty object takes the target back.
var raidRule = objectRule(property{"logical_disks", true, listRule(objectRule(
	property{"size_gb", true, func(v any) string {
		if v == "MAX" {
			return ""
		}
		return intRule(1, maxIndex)(v)
	}},
	property{"raid_level", true, raidLevels},
	property{"is_root_volume", false, typeRule("boolean")},
	property{"share_physical_disks", false, typeRule("boolean")},
	property{"disk_type", false, oneOf("hdd", "ssd")},
	property{"interface_type", false, oneOf("sata", "scsi", "sas", "nvme")},
	property{"number_of_physical_disks", false, intRule(1, 1024)},
	property{"controller", false, typeRule("string", "object")},
	property{"physical_disks", false, listRule(typeRule("string", "object"), 0)},
	property{"volume_name", false, mustText(1, 255)},
), 1)})

// setRAID answers PUT /v1/nodes/{node}/states/raid: the body is the target configuration, which cleaning carries out.
func (s *service) setRAID(r *rest.Request) (*rest.Response, error) {
	o, err := r.Object(false)
	if err != nil {
		return nil, err
	}
	if len(o) > 0 {
		if why := raidRule(o); why != "" {
			return nil, invalid("RAID config validation error: %s", why)
		}
		if rootVolumes(o) > 1 {
			return nil, invalid("Raid config cannot have more than one root volume. %d root volumes were specified", rootVolumes(o))
		}
	}
	err = s.write(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.NodeForUpdate)
		switch {
		case err != nil:
			return err
		case n.Interfaces[node.RAID] == "no-raid":
			return fault.New(fault.NotFound, "%s", unsupported(n, "raid").Error())
		case n.Reservation != "":
			return conductor.Locked(n)
		}
		n.TargetRAIDConfig = o
		return tx.SaveNode(ctx, n)
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

func rootVolumes(o object) int {
	n := 0
	disks, _ := o["logical_disks"].([]any)
	for _, d := range disks {
		if disk, _ := d.(map[string]any); disk["is_root_volume"] == true {
			n++
		}
	}
	return n
}

// showConsole answers GET /v1/nodes/{node}/states/console.
func (s *service) showConsole(r *rest.Request) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	answer := []byte("null")
	if n.ConsoleEnabled {
		if answer, err = s.call(r, n, "get_console", "console", nil); err != nil {
			return nil, err
		}
	}
	b := rest.AppendValue([]byte(`{"console_enabled":`), n.ConsoleEnabled)
	b = append(append(b, `,"console_info":`...), answer...)
	return rest.OK(append(b, '}')), nil
}

// setConsole answers PUT /v1/nodes/{node}/states/console.
func (s *service) setConsole(r *rest.Request) (*rest.Response, error) {
	o, err := body(r, false, "enabled")
	if err != nil {
		return nil, err
	}
	on, err := node.ParseBool(o["enabled"])
	if err != nil {
		return nil, invalid("Invalid enabled: Unrecognized value %s, acceptable values are: %s", repr(o["enabled"]), boolWords)
	}
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	if n.ConsoleEnabled != on {
		if _, err := s.call(r, n, "set_console", "console", node.Object{"enabled": on}); err != nil {
			return nil, err
		}
	}
	return rest.Accepted(statesURL(r, "/console")), nil
}

// setBootMode answers PUT /v1/nodes/{node}/states/boot_mode.
func (s *service) setBootMode(r *rest.Request) (*rest.Response, error) {
	o, err := body(r, false, "target")
	if err != nil {
		return nil, err
	}
	if o["target"] != "bios" && o["target"] != "uefi" {
		return nil, invalid("Invalid boot mode %s specified. Valid boot modes are: ['bios', 'uefi']", repr(o["target"]))
	}
	return s.changeBoot(r, "set_boot_mode", node.Object{"boot_mode": o["target"]})
}

// setSecureBoot answers PUT /v1/nodes/{node}/states/secure_boot.
func (s *service) setSecureBoot(r *rest.Request) (*rest.Response, error) {
	o, err := body(r, false, "target")
	if err != nil {
		return nil, err
	}
	on, err := node.ParseBool(o["target"])
	if err != nil {
		return nil, invalid("Invalid target: Unrecognized value %s, acceptable values are: %s", repr(o["target"]), boolWords)
	}
	return s.changeBoot(r, "set_secure_boot", node.Object{"secure_boot": on})
}

// changeBoot tells the machine how to start, unless it is on its way from one state to another.
func (s *service) changeBoot(r *rest.Request, name string, args node.Object) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	if n.Provision.Unstable() {
		return nil, conflict("The requested action \"%s\" can not be performed on node \"%s\" while it is in state \"%s\".", name, n.UUID, n.Provision)
	}
	if _, err := s.call(r, n, name, "management", args); err != nil {
		return nil, err
	}
	return rest.Accepted(statesURL(r, "")), nil
}
