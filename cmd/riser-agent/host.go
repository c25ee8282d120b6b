package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/riser-project/riser/agent/host"
	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/nodedev"
	"github.com/riser-project/riser/pci/sysfs"
	"github.com/riser-project/riser/virt/libvirt"
)

// hostSettings are those of riser-agent host.
type hostSettings struct {
	settings
	host           string
	source         string
	sysfs, libvirt string
	specs          []string
	virtDriver     string
	virtType       string
	images         string
	traits         []string
	poll           time.Duration
	reservedVCPUs  int
	reservedMemory int
}

func hostCommand() *cobra.Command {
	set := &hostSettings{}
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Tell the server which cards this hypervisor has, and run its servers",
		Long: "Read the cards and their SR-IOV functions from sysfs or from libvirt, and report them to riser's server; run by libvirt the domains that the server\n" +
			"has for this host. It needs no privileges but to read VPD and to speak to libvirt.\n\n" +
			"Every flag is also a key of the file named by --config, and a variable: --server is RISER_AGENT_SERVER.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := set.load(cmd); err != nil {
				return err
			}
			c, end, err := set.agent()
			if err != nil {
				return err
			}
			defer end()
			c.Log = set.logger(cmd.ErrOrStderr())
			leave, err := set.joined(cmd.Context(), c.Log, &c.Client)
			if err != nil {
				return err
			}
			defer leave()
			return set.run(cmd.Context(), c)
		},
	}
	set.flags(cmd.Flags())
	return cmd
}

func (s *hostSettings) flags(set *pflag.FlagSet) {
	s.settings.flags(set)
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	set.StringVar(&s.host, "host", name, "name under which the server knows this hypervisor")
	set.StringVar(&s.source, "source", "sysfs", "where functions are read: sysfs or libvirt")
	set.StringVar(&s.sysfs, "sysfs", "/sys", "where sysfs is mounted")
	set.StringVar(&s.libvirt, "libvirt-uri", "qemu:///system", "libvirt's daemon, for --source libvirt and --virt-driver libvirt")
	set.StringArrayVar(&s.specs, "device-spec", nil,
		`rule in JSON for the VFs that may be handed out, as Nova's [pci] device_spec: {"vendor_id":"15b3","product_id":"101e","physical_network":null,"remote_managed":"true"}`)
	set.StringVar(&s.virtDriver, "virt-driver", "libvirt", "what runs servers here: libvirt, fake or none")
	set.StringVar(&s.virtType, "libvirt-type", "kvm", "kind of libvirt's domains: kvm, or qemu for emulation")
	set.StringVar(&s.images, "images", "/var/lib/libvirt/images", "folder of the images that servers boot from")
	set.StringSliceVar(&s.traits, "traits", nil, "traits of this hypervisor, as in CUSTOM_GOLD")
	set.IntVar(&s.reservedVCPUs, "reserved-vcpus", 0, "processors that are not for servers")
	set.IntVar(&s.reservedMemory, "reserved-memory-mb", 512, "memory in MiB that is not for servers")
	set.DurationVar(&s.poll, "poll-interval", host.DefaultPoll, "between two looks for changes")
}

// agent returns the agent's configuration, and what ends its source.
func (s *hostSettings) agent() (c host.Config, end func(), err error) {
	if err := errors.Join(oneOf("virt-driver", s.virtDriver, "libvirt", "fake", "none"), oneOf("libvirt-type", s.virtType, "kvm", "qemu")); err != nil {
		return c, nil, usage(err)
	}
	var specs [][]byte
	for _, text := range s.specs {
		specs = append(specs, []byte(text))
	}
	rules, err := pci.ParseRules(specs...)
	if err != nil {
		return c, nil, usage(fmt.Errorf("--device-spec: %w", err))
	}
	client, err := s.client()
	if err != nil {
		return c, nil, err
	}
	virt, err := s.virt()
	if err != nil {
		return c, nil, err
	}
	source, end, err := s.open()
	if err != nil {
		return c, nil, err
	}
	return host.Config{Host: s.host, Server: s.server, Source: source, Rules: rules, Virt: virt, Client: client, Poll: s.poll}, end, nil
}

// run reports the host and runs its domains until ctx ends. Either fails for settings alone.
func (s *hostSettings) run(ctx context.Context, c host.Config) error {
	if s.virtDriver != "libvirt" {
		return usage(host.Run(ctx, c))
	}
	driver, err := libvirt.Open(libvirt.Options{URI: s.libvirt, Type: s.virtType, Images: s.images})
	if err != nil {
		return usage(err)
	}
	defer func() { _ = driver.Close() }() // the process ends
	asking, enough := context.WithTimeout(ctx, versionPatience)
	if c.Virt.DriverVersion, err = driver.Version(asking); err != nil {
		c.Virt.DriverVersion = "" // libvirt is away: it is not known, and the domains wait
	}
	enough()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- host.RunDomains(ctx, host.DomainConfig{Host: s.host, Server: s.server, Virt: driver, Client: c.Client, Log: c.Log})
	}()
	err = host.Run(ctx, c)
	cancel()
	return usage(errors.Join(err, <-ended))
}

// versionPatience is how long the agent's start waits for libvirt.
const versionPatience = 2 * time.Second

// open returns where functions are read, and what ends that.
func (s *hostSettings) open() (host.Source, func(), error) {
	switch s.source {
	case "sysfs":
		tree, err := sysfs.Open(s.sysfs)
		return tree, func() {}, err
	case "libvirt":
		daemon, err := nodedev.Open(s.libvirt)
		if err != nil {
			return nil, nil, usage(fmt.Errorf("--libvirt-uri: %w", err))
		}
		return daemon, func() { _ = daemon.Close() }, nil
	}
	return nil, nil, usage(oneOf("source", s.source, "sysfs", "libvirt"))
}

// virt returns what this machine has for servers.
func (s *hostSettings) virt() (wire.Virt, error) {
	v := wire.Virt{Driver: s.virtDriver, Traits: s.traits}
	if s.virtDriver == "none" {
		return v, nil
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return v, fmt.Errorf("memory of this machine: %w", err)
	}
	total := uint64(info.Totalram) * uint64(info.Unit) >> 20 //nolint:unconvert // the type differs between architectures
	v.VCPUs = max(runtime.NumCPU()-s.reservedVCPUs, 1)
	v.MemoryMB = max(int(total)-s.reservedMemory, 1)
	return v, nil
}
