package ovsdb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/ovsdb"
)

func TestSouthboundIsRead(t *testing.T) {
	sim, err := ovs.StartSouthbound(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	r := dialRaw(t, sim.Endpoint(), "OVN_Southbound")
	r.transact(
		op{"op": "insert", "table": "Chassis", "uuid-name": "c1", "row": op{
			"name": "chassis-1", "hostname": "dpu1", "other_config": dict("ovn-cms-options", "a=b,card-serial-number=MT1"),
			"external_ids": dict("ovn-cms-options", "card-serial-number=OLD"),
		}},
		op{"op": "insert", "table": "Chassis", "row": op{
			"name": "chassis-2", "hostname": "dpu2", "external_ids": dict("ovn-cms-options", "card-serial-number=MT2"),
		}},
		op{"op": "insert", "table": "Chassis", "row": op{
			"name": "chassis-3", "hostname": "dpu3", "other_config": dict("ovn-cms-options", "card-serial-number=MT3,x"),
		}},
		op{"op": "insert", "table": "Chassis", "row": op{
			"name": "chassis-4", "hostname": "dpu4", "other_config": dict("ovn-cms-options", "card-serial-number=MT3"),
		}},
		op{"op": "insert", "table": "Port_Binding", "row": op{
			"logical_port": "p1", "chassis": []any{"named-uuid", "c1"}, "requested_chassis": []any{"named-uuid", "c1"}, "up": true,
			"options": dict("requested-chassis", "dpu1"),
		}},
		op{"op": "insert", "table": "Port_Binding", "row": op{"logical_port": "p2"}},
	)
	s, err := ovsdb.OpenSouthbound(ovsdb.Config{Endpoint: sim.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, serial, want string
		err                error
	}{
		{"the serial in other_config", "MT1", "chassis-1", nil},
		{"the serial in external_ids, where old versions keep it", "MT2", "chassis-2", nil},
		{"external_ids are not read beside other_config", "OLD", "", ovsdb.ErrNotFound},
		{"a part of a serial is no serial", "MT", "", ovsdb.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := s.ChassisByCMSOption("card-serial-number=" + tt.serial)
			if c.Name != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v; want %q, %v", c, err, tt.want, tt.err)
			}
		})
	}
	var ambiguous *ovsdb.AmbiguousChassisError
	if c, err := s.ChassisByCMSOption("card-serial-number=MT3"); !errors.As(err, &ambiguous) ||
		!strings.Contains(err.Error(), "chassis-3 (dpu3)") || !strings.Contains(err.Error(), "chassis-4 (dpu4)") {
		t.Errorf("two chassis with one serial: %+v, %v; want an error that names both", c, err)
	}
	want := ovsdb.PortBinding{
		LogicalPort: "p1", Chassis: "chassis-1", RequestedChassis: "chassis-1", Up: true, Options: map[string]string{"requested-chassis": "dpu1"},
	}
	if got, err := s.PortBinding("p1"); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.PortBinding("p2"); err != nil || got.Chassis != "" || got.Up {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.PortBinding("p3"); !errors.Is(err, ovsdb.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
