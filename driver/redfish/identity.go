package redfish

import (
	"context"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// Identity reads who the machine is. On a BlueField it is the card: serial and part number from the chassis of the card, base MAC from the
// vendor's part of the system. On a host it lists the serials of the cards in its slots. Texts that only fill a field ("N/A", zeros) count as absent.
func (c *Conn) Identity(ctx context.Context) (driver.Identity, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return driver.Identity{}, err
	}
	id := driver.Identity{
		SystemUUID: strings.ToLower(real(sys.UUID)), Manufacturer: real(sys.Manufacturer), Model: real(sys.Model), Serial: real(sys.SerialNumber),
		PartNumber: real(sys.PartNumber),
	}
	chassis, err := c.chassis(ctx, sys)
	if err != nil {
		return driver.Identity{}, err
	}
	if i := slices.IndexFunc(chassis, func(ch chassisBody) bool { return ch.ChassisType == "Card" }); i >= 0 {
		id.Serial, id.PartNumber = first(real(chassis[i].SerialNumber), id.Serial), first(real(chassis[i].PartNumber), id.PartNumber)
		id.BaseMAC, err = c.baseMAC(ctx)
		return id, err
	}
	id.CardSerials, err = c.cards(ctx, sys, chassis)
	return id, err
}

// chassisBody is DSP0268 Chassis.
type chassisBody struct {
	ChassisType     string
	SerialNumber    string
	PartNumber      string
	NetworkAdapters reference
	PCIeDevices     reference
}

// chassis reads the chassis of the service. A chassis that cannot be read is passed over.
func (c *Conn) chassis(ctx context.Context, sys *system) ([]chassisBody, error) {
	paths, err := c.service.members(ctx, c.service.root.Chassis.or("/redfish/v1/Chassis"))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	for _, l := range sys.Links.Chassis {
		if l.ID != "" && !slices.Contains(paths, l.ID) {
			paths = append(paths, l.ID)
		}
	}
	var list []chassisBody
	for _, p := range paths[:min(len(paths), 32)] {
		var ch chassisBody
		if _, err := c.service.read(ctx, p, &ch); err != nil {
			if stop(err) {
				return nil, err
			}
			continue
		}
		list = append(list, ch)
	}
	return list, nil
}

// stop reports whether err is a reason not to read on.
func stop(err error) bool {
	return fault.Is(err, fault.Timeout) || fault.Is(err, fault.Unauthorized) || fault.Is(err, fault.Lost)
}

// cards lists the serials of network adapters, and of PCIe devices when no adapter has one, each once.
func (c *Conn) cards(ctx context.Context, sys *system, chassis []chassisBody) ([]string, error) {
	var adapters, devices []string
	for _, ch := range chassis {
		for _, from := range []struct {
			list *[]string
			path string
		}{{&adapters, ch.NetworkAdapters.ID}, {&devices, ch.PCIeDevices.ID}} {
			if from.path == "" {
				continue
			}
			more, err := c.service.members(ctx, from.path)
			if stop(err) {
				return nil, err
			}
			*from.list = append(*from.list, more...)
		}
	}
	for _, d := range sys.PCIeDevices {
		if !slices.Contains(devices, d.ID) {
			devices = append(devices, d.ID)
		}
	}
	for _, paths := range [][]string{adapters, devices} {
		serials, err := c.serials(ctx, paths)
		if err != nil || len(serials) > 0 {
			return serials, err
		}
	}
	return nil, nil
}

func (c *Conn) serials(ctx context.Context, paths []string) ([]string, error) {
	var list []string
	for _, p := range paths[:min(len(paths), 64)] {
		var device struct{ SerialNumber string }
		if _, err := c.service.read(ctx, p, &device); err != nil {
			if stop(err) {
				return nil, err
			}
			continue
		}
		if s := real(device.SerialNumber); s != "" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list, nil
}

// baseMAC reads a BlueField's base MAC address: from the system's vendor part, else from the GUID that the inventory has as a version.
func (c *Conn) baseMAC(ctx context.Context) (string, error) {
	var oem struct{ BaseMAC, BaseGUID string }
	if _, err := c.service.read(ctx, c.path+"/Oem/Nvidia", &oem); stop(err) {
		return "", err
	}
	if mac := formatMAC(oem.BaseMAC); mac != "" {
		return mac, nil
	}
	if mac := guidMAC(oem.BaseGUID); mac != "" {
		return mac, nil
	}
	var image struct{ Version string }
	if _, err := c.service.read(ctx, "/redfish/v1/UpdateService/FirmwareInventory/DPU_SYS_IMAGE", &image); stop(err) {
		return "", err
	}
	return guidMAC(image.Version), nil
}

// guidMAC returns the MAC address inside a GUID of the form "946d:ae03:0076:6e6a": without the 0300 in its middle.
func guidMAC(guid string) string {
	hex := strings.ReplaceAll(strings.TrimSpace(guid), ":", "")
	if len(hex) != 16 || hex[6:10] != "0300" {
		return ""
	}
	return formatMAC(hex[:6] + hex[10:])
}

// formatMAC returns a MAC address in lower case with colons, or "" when text is none.
func formatMAC(text string) string {
	hex := strings.ToLower(strings.NewReplacer(":", "", "-", "").Replace(strings.TrimSpace(text)))
	if len(hex) != 12 || strings.Trim(hex, "0123456789abcdef") != "" || strings.Trim(hex, "0") == "" {
		return ""
	}
	parts := make([]string, 0, 6)
	for i := 0; i < 12; i += 2 {
		parts = append(parts, hex[i:i+2])
	}
	return strings.Join(parts, ":")
}

// real returns text without blanks around it, or "" when it only fills a field.
func real(text string) string {
	text = strings.TrimSpace(strings.Trim(text, "\x00"))
	switch strings.ToLower(text) {
	case "n/a", "na", "none", "null", "unknown", "unspecified", "unspecified serial number", "not specified", "not available", "default " +
		"string", "to be filled by o.e.m.":
		return ""
	}
	if strings.Trim(text, "0-:. ") == "" || strings.Trim(text, "fF-") == "" {
		return ""
	}
	return text
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
