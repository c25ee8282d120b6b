package ovsdb_test

import (
	"context"
	"fmt"
	"log"

	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/ovsdb"
)

// An order is plugged, repeated, and overtaken by a newer one; then the old order comes once more, late.
func ExampleSwitch_Plug() {
	sim, err := ovs.StartSwitch(ovs.SwitchConfig{Endpoint: "tcp:127.0.0.1:0", SystemID: "chassis-dpu1", Hostname: "dpu1"})
	if err != nil {
		log.Fatal(err)
	}
	defer sim.Close()
	s, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: sim.Endpoint()})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	if err := s.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	for _, order := range []ovsdb.Attachment{
		{Bridge: "br-int", Interface: "c1pf0vf3", IfaceID: "port-a", Generation: 1},
		{Bridge: "br-int", Interface: "c1pf0vf3", IfaceID: "port-a", Generation: 1},
		{Bridge: "br-int", Interface: "c1pf0vf4", IfaceID: "port-a", Generation: 2},
		{Bridge: "br-int", Interface: "c1pf0vf3", IfaceID: "port-a", Generation: 1},
	} {
		wrote, err := s.Plug(ctx, order)
		fmt.Println(wrote, err)
	}
	// Output:
	// true <nil>
	// false <nil>
	// true <nil>
	// false plug c1pf0vf3 for port port-a, generation 1: a newer order was carried out before: interface c1pf0vf4 has generation 2
}
