package ipmi

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// Identity reads the system GUID and the FRU inventory of the controller's own board. What is missing stays empty.
func (c *Conn) Identity(ctx context.Context) (driver.Identity, error) {
	var id driver.Identity
	raw, err := c.ask(ctx, "system GUID", app, systemGUID)
	if err != nil && !absent(err) {
		return id, err
	}
	id.SystemUUID = uuidOf(raw)
	var fru *types.FRU
	err = c.session.whole(ctx, "FRU inventory", func(ctx context.Context, cl *client.Client) (err error) {
		fru, err = cl.GetFRU(ctx, 0, "")
		return err
	})
	switch {
	case absent(err):
		return id, nil
	case err != nil:
		return id, err
	}
	if p := fru.ProductInfoArea; p != nil {
		id.Manufacturer, id.Model, id.Serial, id.PartNumber = text(p.Manufacturer), text(p.Name), text(p.SerialNumber), text(p.PartModel)
	}
	if b := fru.BoardInfoArea; b != nil {
		id.Manufacturer, id.Model = first(id.Manufacturer, text(b.Manufacturer)), first(id.Model, text(b.ProductName))
		id.Serial, id.PartNumber = first(id.Serial, text(b.SerialNumber)), first(id.PartNumber, text(b.PartNumber))
	}
	return id, nil
}

func absent(err error) bool {
	return fault.Is(err, fault.Unsupported) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict)
}

// uuidOf reads a GUID in the order of SMBIOS (section 7.2.1), which controllers use whatever IPMI says, unless only the order of RFC 9562 makes
// a UUID of a known version.
func uuidOf(raw []byte) string {
	if len(raw) != 16 || bytes.Equal(raw, bytes.Repeat([]byte{0}, 16)) || bytes.Equal(raw, bytes.Repeat([]byte{0xff}, 16)) {
		return ""
	}
	for _, mode := range []types.GUIDMode{types.GUIDModeSMBIOS, types.GUIDModeRFC4122, types.GUIDModeIPMI} {
		u, err := types.ParseGUID(raw, mode)
		if err == nil && u.Version() >= 1 && u.Version() <= 8 && u.Variant() == 1 {
			return u.String()
		}
	}
	u, err := types.ParseGUID(raw, types.GUIDModeSMBIOS)
	if err != nil {
		return ""
	}
	return u.String()
}

// text returns a FRU field without blanks around it, or "" when it only fills the field.
func text(field []byte) string {
	s := strings.TrimSpace(strings.Trim(strings.ToValidUTF8(string(field), ""), "\x00"))
	switch strings.ToLower(s) {
	case "n/a", "none", "unknown", "default string", "to be filled by o.e.m.", "not specified":
		return ""
	}
	if strings.Trim(s, "0-. ") == "" {
		return ""
	}
	return s
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// Sensors reads the sensors of the SDR repository that have an analogue reading now. With many sensors it takes many requests.
func (c *Conn) Sensors(ctx context.Context) ([]driver.Sensor, error) {
	var list []driver.Sensor
	err := c.session.whole(ctx, "sensors", func(ctx context.Context, cl *client.Client) error {
		all, err := cl.GetSensors(ctx, client.SensorFilterOptionIsReadingValid, client.SensorFilterOptionIsThreshold)
		if err != nil {
			return err
		}
		list = nil
		for _, s := range all {
			list = append(list, driver.Sensor{
				ID: fmt.Sprintf("%d", s.Number), Name: strings.TrimSpace(s.Name), Kind: kindOf(s.SensorType), Reading: s.Value, Unit: unitOf(s.SensorUnit), Health: healthOf(s.Status()),
			})
		}
		return nil
	})
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return list, err
}

func kindOf(t types.SensorType) string {
	switch t {
	case types.SensorTypeTemperature:
		return "Temperature"
	case types.SensorTypeVoltage:
		return "Voltage"
	case types.SensorTypeCurrent:
		return "Current"
	case types.SensorTypeFan:
		return "Fan"
	}
	return "Other"
}

// unitOf writes a unit as DSP0268 does.
func unitOf(u types.SensorUnit) string {
	switch text := u.BaseUnit.String(); strings.ToLower(text) {
	case "degrees c":
		return "Cel"
	case "volts":
		return "V"
	case "amps":
		return "A"
	case "watts":
		return "W"
	case "rpm":
		return "RPM"
	case "unspecified":
		return ""
	default:
		return text
	}
}

func healthOf(status string) string {
	switch status {
	case "ok":
		return "OK"
	case "lnc", "unc":
		return "Warning"
	case "lcr", "ucr", "lnr", "unr":
		return "Critical"
	}
	return ""
}
