package redfish

import (
	"context"
	"slices"

	"github.com/riser-project/riser/driver"
)

var _ driver.Inspector = (*Conn)(nil)

// Inventory reads processors, memory, disks and MAC addresses. What the machine does not tell stays zero.
func (c *Conn) Inventory(ctx context.Context) (driver.Inventory, error) {
	var sys struct {
		system
		BiosVersion        string
		ProcessorSummary   struct{ Count, CoreCount int }
		MemorySummary      struct{ TotalSystemMemoryGiB float64 }
		Processors         reference
		EthernetInterfaces reference
		Storage            reference
	}
	if _, err := c.service.read(ctx, c.path, &sys); err != nil {
		return driver.Inventory{}, err
	}
	inv := driver.Inventory{
		Processors: max(sys.ProcessorSummary.CoreCount, sys.ProcessorSummary.Count), MemoryMiB: int(sys.MemorySummary.TotalSystemMemoryGiB * 1024),
		BootMode: sys.Boot.mode(), BIOS: real(sys.BiosVersion),
	}
	for _, p := range []struct {
		path string
		read func(context.Context, string, *driver.Inventory) error
	}{{sys.Processors.ID, c.processors}, {sys.EthernetInterfaces.ID, c.interfaces}, {sys.Storage.ID, c.disks}} {
		if p.path == "" {
			continue
		}
		if err := p.read(ctx, p.path, &inv); err != nil {
			return driver.Inventory{}, err
		}
	}
	return inv, nil
}

// each reads up to limit members of a collection. Members that cannot be read are passed over.
func (c *Conn) each(ctx context.Context, path string, limit int, into func() any, then func()) error {
	paths, err := c.service.members(ctx, path)
	if err != nil {
		if stop(err) {
			return err
		}
		return nil
	}
	for _, p := range paths[:min(len(paths), limit)] {
		v := into()
		_, err := c.service.read(ctx, p, v)
		switch {
		case err == nil:
			then()
		case stop(err):
			return err
		}
	}
	return nil
}

func (c *Conn) processors(ctx context.Context, path string, inv *driver.Inventory) error {
	type processor struct {
		ProcessorType  string
		InstructionSet string
		TotalCores     int
	}
	var p *processor
	cores := 0
	err := c.each(ctx, path, 16, func() any { p = new(processor); return p }, func() {
		if p.ProcessorType != "" && p.ProcessorType != "CPU" {
			return
		}
		cores += p.TotalCores
		switch p.InstructionSet {
		case "x86-64":
			inv.Arch = "x86_64"
		case "ARM-A64":
			inv.Arch = "aarch64"
		}
	})
	inv.Processors = max(inv.Processors, cores)
	return err
}

func (c *Conn) interfaces(ctx context.Context, path string, inv *driver.Inventory) error {
	type ethernet struct{ MACAddress, PermanentMACAddress string }
	var e *ethernet
	err := c.each(ctx, path, 64, func() any { e = new(ethernet); return e }, func() {
		if mac := formatMAC(first(e.MACAddress, e.PermanentMACAddress)); mac != "" && !slices.Contains(inv.MACs, mac) {
			inv.MACs = append(inv.MACs, mac)
		}
	})
	slices.Sort(inv.MACs)
	return err
}

func (c *Conn) disks(ctx context.Context, path string, inv *driver.Inventory) error {
	type storage struct{ Drives []reference }
	var s *storage
	var drives []string
	err := c.each(ctx, path, 16, func() any { s = new(storage); return s }, func() {
		for _, d := range s.Drives {
			if d.ID != "" && !slices.Contains(drives, d.ID) {
				drives = append(drives, d.ID)
			}
		}
	})
	for _, p := range drives[:min(len(drives), 64)] {
		var d struct {
			Name, SerialNumber string
			CapacityBytes      int64
		}
		if _, err := c.service.read(ctx, p, &d); err != nil {
			if stop(err) {
				return err
			}
			continue
		}
		inv.Disks = append(inv.Disks, driver.Disk{Name: real(d.Name), Serial: real(d.SerialNumber), Bytes: d.CapacityBytes})
	}
	return err
}
