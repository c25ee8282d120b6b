package devlink_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/internal/sim/devlinksim"
)

// The representor of VF 3 of the PF that a host knows by its address, on a card that serves two hosts.
func ExampleTable() {
	kernel := devlinksim.New() // devlink.Dial() on a DPU
	kernel.AddCard(devlinksim.Card{Serial: "MT2113X00042", VFs: 4, Hosts: [][]net.HardwareAddr{
		{{0x08, 0xc0, 0xeb, 0xaa, 0x00, 0x01}}, {{0x08, 0xc0, 0xeb, 0xbb, 0x00, 0x01}},
	}})
	conn, err := devlink.New(kernel.Dial)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ports, err := conn.Ports(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	table := devlink.NewTable(ports, devlink.SysfsLegacyMAC("/sys"))
	pf, err := table.HostPF(net.HardwareAddr{0x08, 0xc0, 0xeb, 0xbb, 0x00, 0x01})
	if err != nil {
		log.Fatal(err)
	}
	vf, err := table.Lookup(pf.Function.VF(3))
	fmt.Println(vf.Netdev, vf.Function, err)
	_, err = table.Lookup(pf.Function.VF(9))
	fmt.Println(err)
	// Output:
	// c2pf0vf3 pci/0000:03:00.0 controller 2 external pf 0 vf 3 <nil>
	// devlink: pci/0000:03:00.0 controller 2 external pf 0 vf 9: no such port: its PF has 4 VFs and SFs here
}
