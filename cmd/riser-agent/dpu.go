package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/riser-project/riser/agent/dpu"
)

// dpuSettings are those of riser-agent dpu.
type dpuSettings struct {
	settings
	ovsdb, bridge    string
	serial, chassis  string
	bmc              string
	physicalNetworks []string
	announce         bool
	sysfs            string
	resync           time.Duration
}

func dpuCommand() *cobra.Command {
	set := &dpuSettings{}
	cmd := &cobra.Command{
		Use:   "dpu",
		Short: "Plug representors on this card as the server orders",
		Long: "Tell riser's server which card this is, and plug the representors of the functions that it orders into Open vSwitch. It needs access to Open\n" +
			"vSwitch's database, and CAP_NET_ADMIN to set the addresses of functions.\n\n" +
			"Every flag is also a key of the file named by --config, and a variable: --server is RISER_AGENT_SERVER.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := set.load(cmd); err != nil {
				return err
			}
			c, err := set.agent()
			if err != nil {
				return err
			}
			c.Log = set.logger(cmd.ErrOrStderr())
			leave, err := set.joined(cmd.Context(), c.Log, &c.Client)
			if err != nil {
				return err
			}
			defer leave()
			return usage(dpu.Run(cmd.Context(), c)) // it fails for settings alone
		},
	}
	set.flags(cmd.Flags())
	return cmd
}

func (s *dpuSettings) flags(set *pflag.FlagSet) {
	s.settings.flags(set)
	set.StringVar(&s.ovsdb, "ovsdb", "unix:/run/openvswitch/db.sock", "Open vSwitch's database: unix:/path or tcp:host:port")
	set.StringVar(&s.bridge, "bridge", dpu.DefaultBridge, "integration bridge")
	set.StringVar(&s.serial, "serial", "", "the card's serial number, if the card does not tell the one that its host reads from VPD")
	set.StringVar(&s.chassis, "chassis", "", "host name of this Linux in OVN (default: external_ids:hostname of Open vSwitch, else the host name)")
	set.StringVar(&s.bmc, "bmc-address", "", "URL or address of the card's own management controller")
	set.StringSliceVar(&s.physicalNetworks, "physical-networks", nil, "physical networks of uplinks, as in physnet1:p0,physnet2:p1")
	set.BoolVar(&s.announce, "announce-serial", false, "add card-serial-number to ovn-cms-options, by which Neutron finds the card")
	set.StringVar(&s.sysfs, "sysfs", "/sys", "where sysfs is mounted, for the VPD of a card whose driver tells no serial number")
	set.DurationVar(&s.resync, "resync-interval", dpu.DefaultResync, "between two looks at everything")
}

// agent returns the agent's configuration.
func (s *dpuSettings) agent() (dpu.Config, error) {
	physical, err := physicalNetworks(s.physicalNetworks)
	if err != nil {
		return dpu.Config{}, usage(err)
	}
	client, err := s.client()
	if err != nil {
		return dpu.Config{}, err
	}
	return dpu.Config{
		Server: s.server, Client: client, OVSDB: s.ovsdb, Bridge: s.bridge, Serial: s.serial, Chassis: s.chassis, BMCAddress: s.bmc,
		PhysicalNetworks: physical, AnnounceSerial: s.announce, Sysfs: s.sysfs, Resync: s.resync,
	}, nil
}

// physicalNetworks reads mappings as ovn-bridge-mappings has them, with an uplink in the place of the bridge. It returns the networks by uplink.
func physicalNetworks(mappings []string) (map[string]string, error) {
	out := map[string]string{}
	for _, m := range mappings {
		name, netdev, ok := strings.Cut(m, ":")
		if !ok || name == "" || netdev == "" {
			return nil, fmt.Errorf("--physical-networks %q: want NETWORK:UPLINK, as in physnet1:p0", m)
		}
		if have, taken := out[netdev]; taken {
			return nil, fmt.Errorf("--physical-networks: uplink %s is on %s and on %s: want one", netdev, have, name)
		}
		out[netdev] = name
	}
	return out, nil
}
