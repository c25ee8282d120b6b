package bluefield

import (
	"context"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

const (
	systemPath  = "/redfish/v1/Systems/Bluefield"
	oemPath     = systemPath + "/Oem/Nvidia"
	managerOem  = "/redfish/v1/Managers/Bluefield_BMC/Oem/Nvidia"
	chassisPath = "/redfish/v1/Chassis"
	erotPath    = chassisPath + "/Bluefield_ERoT"
	privileges  = oemPath + "/Connectx/ExternalHostPrivileges"
	inventory   = "/redfish/v1/UpdateService/FirmwareInventory/"
)

// card is what a card says of itself and does not change.
type card struct {
	family  *family // nil when it is not known
	version version
	chassis []string // ids
}

// about reads it once.
func (c *Conn) about(ctx context.Context) (*card, error) {
	if c.card != nil {
		return c.card, nil
	}
	text, err := c.ManagerVersion(ctx)
	if err != nil && !fault.Is(err, fault.Unsupported) {
		return nil, err
	}
	paths, err := c.Members(ctx, chassisPath)
	if err != nil {
		return nil, err
	}
	a := &card{version: parseVersion(text)}
	for _, p := range paths {
		a.chassis = append(a.chassis, p[strings.LastIndex(p, "/")+1:])
	}
	var system struct{ Model, PartNumber string }
	if err := c.Get(ctx, systemPath, &system); err != nil {
		return nil, err
	}
	var ch struct{ Model, PartNumber string }
	if slices.Contains(a.chassis, "Card1") {
		if err := c.Get(ctx, chassisPath+"/Card1", &ch); err != nil {
			return nil, err
		}
	}
	a.family = familyOf(a.chassis, system.Model, ch.Model, system.PartNumber, ch.PartNumber)
	c.card = a
	return a, nil
}

// Identity reads serial, part number and base MAC of the card, wherever its generation keeps them.
func (c *Conn) Identity(ctx context.Context) (driver.Identity, error) {
	id, err := c.service.Identity(ctx)
	if err != nil {
		return id, err
	}
	id.CardSerials = nil // those of a host
	a, err := c.about(ctx)
	if err != nil {
		return id, err
	}
	if a.family != nil {
		for _, name := range a.family.chassis {
			if id.Serial != "" && id.PartNumber != "" || !slices.Contains(a.chassis, name) {
				continue
			}
			var ch struct{ SerialNumber, PartNumber string }
			if err := c.Get(ctx, chassisPath+"/"+name, &ch); err != nil && !fault.Is(err, fault.NotFound) {
				return id, err
			}
			id.Serial, id.PartNumber = first(id.Serial, trimmed(ch.SerialNumber)), first(id.PartNumber, trimmed(ch.PartNumber))
		}
	}
	if id.BaseMAC == "" && a.family != nil && a.family.generation == 4 {
		id.BaseMAC, err = c.baseMACOf4(ctx)
	}
	return id, err
}

// baseMACOf4 derives the base MAC of a BlueField-4 from that of its first function, which is 16 above it.
func (c *Conn) baseMACOf4(ctx context.Context) (string, error) {
	var function struct{ Ethernet struct{ MACAddress string } }
	err := c.Get(ctx, chassisPath+"/BlueField_0/NetworkAdapters/BlueField_NIC_0/NetworkDeviceFunctions/0", &function)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return lowerMAC(function.Ethernet.MACAddress, 0x10), nil
}

// BootState is that of the system. In NIC mode the card is up when its firmware is: no system follows.
func (c *Conn) BootState(ctx context.Context) (driver.BootState, error) {
	b, err := c.service.BootState(ctx)
	if err != nil || b.State != "UEFI" {
		return b, err
	}
	mode, err := c.Mode(ctx)
	if fault.Is(err, fault.Unsupported) {
		return b, nil
	}
	b.Booted = mode == NIC
	return b, err
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

func trimmed(text string) string {
	text = strings.TrimSpace(strings.Trim(text, "\x00"))
	switch strings.ToLower(text) {
	case "n/a", "none", "unspecified serial number", "unknown":
		return ""
	}
	return text
}
