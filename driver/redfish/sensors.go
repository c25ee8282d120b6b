package redfish

import (
	"context"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

var (
	_ driver.Sensors    = (*Conn)(nil)
	_ driver.Indicators = (*Conn)(nil)
	_ driver.NMI        = (*Conn)(nil)
)

type status struct{ Health string }

// thermal and supply are DSP0268 Thermal and Power, which hold all readings of a chassis in two resources.
type thermal struct {
	Temperatures []struct {
		ID             string `json:"@odata.id"`
		Name           string
		ReadingCelsius *float64
		Status         status
	}
	Fans []struct {
		ID           string `json:"@odata.id"`
		Name         string
		FanName      string
		Reading      *float64
		ReadingUnits string
		Status       status
	}
}

type supply struct {
	PowerControl []struct {
		ID                 string `json:"@odata.id"`
		Name               string
		PowerConsumedWatts *float64
		Status             status
	}
	Voltages []struct {
		ID           string `json:"@odata.id"`
		Name         string
		ReadingVolts *float64
		Status       status
	}
}

// maxSensors bounds the readings of a chassis that has a resource for each sensor.
const maxSensors = 128

// Sensors reads the sensors of the system's chassis: all at once where the controller has Thermal and Power, else one by one. A sensor
// without a reading is left out.
func (c *Conn) Sensors(ctx context.Context) ([]driver.Sensor, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	paths, err := c.service.members(ctx, c.service.root.Chassis.or("/redfish/v1/Chassis"))
	if err != nil {
		return nil, err
	}
	for _, l := range sys.Links.Chassis {
		paths = append([]string{l.ID}, paths...)
	}
	var list []driver.Sensor
	seen := map[string]bool{}
	for _, p := range paths[:min(len(paths), 16)] {
		if p == "" || seen[p] {
			continue
		}
		seen[p] = true
		var ch struct{ Thermal, Power, Sensors reference }
		if _, err := c.service.read(ctx, p, &ch); err != nil {
			if stop(err) {
				return nil, err
			}
			continue
		}
		some, err := c.combined(ctx, ch.Thermal.ID, ch.Power.ID)
		if err == nil && len(some) == 0 {
			some, err = c.single(ctx, ch.Sensors.ID, maxSensors-len(list))
		}
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

func (c *Conn) combined(ctx context.Context, thermalPath, powerPath string) ([]driver.Sensor, error) {
	var list []driver.Sensor
	add := func(id, name, kind string, reading *float64, unit string, s status) {
		if reading != nil {
			list = append(list, driver.Sensor{ID: id, Name: real(name), Kind: kind, Reading: *reading, Unit: unit, Health: s.Health})
		}
	}
	var t thermal
	var p supply
	for path, into := range map[string]any{thermalPath: &t, powerPath: &p} {
		if path == "" {
			continue
		}
		if _, err := c.service.read(ctx, path, into); stop(err) {
			return nil, err
		}
	}
	for _, v := range t.Temperatures {
		add(v.ID, v.Name, "Temperature", v.ReadingCelsius, "Cel", v.Status)
	}
	for _, v := range t.Fans {
		add(v.ID, first(v.Name, v.FanName), "Fan", v.Reading, first(v.ReadingUnits, "RPM"), v.Status)
	}
	for _, v := range p.PowerControl {
		add(v.ID, v.Name, "Power", v.PowerConsumedWatts, "W", v.Status)
	}
	for _, v := range p.Voltages {
		add(v.ID, v.Name, "Voltage", v.ReadingVolts, "V", v.Status)
	}
	return list, nil
}

func (c *Conn) single(ctx context.Context, path string, limit int) ([]driver.Sensor, error) {
	if path == "" || limit <= 0 {
		return nil, nil
	}
	paths, err := c.service.members(ctx, path)
	if err != nil {
		if stop(err) {
			return nil, err
		}
		return nil, nil
	}
	var list []driver.Sensor
	for _, p := range paths[:min(len(paths), limit)] {
		var s struct {
			Name         string
			Reading      *float64
			ReadingType  string
			ReadingUnits string
			Status       status
		}
		if _, err := c.service.read(ctx, p, &s); err != nil {
			if stop(err) {
				return nil, err
			}
			continue
		}
		if s.Reading != nil {
			list = append(list, driver.Sensor{ID: p, Name: real(s.Name), Kind: kindOf(s.ReadingType), Reading: *s.Reading, Unit: s.ReadingUnits,
				Health: s.Status.Health})
		}
	}
	return list, nil
}

func kindOf(readingType string) string {
	switch readingType {
	case "Temperature", "Power", "Voltage", "Current":
		return readingType
	case "Rotational":
		return "Fan"
	}
	return "Other"
}

// InjectNMI sends ComputerSystem.Reset Nmi.
func (c *Conn) InjectNMI(ctx context.Context) error { return c.SendPower(ctx, "Nmi") }

// Indicators lists the locator lamp of the system.
func (c *Conn) Indicators(ctx context.Context) ([]driver.Indicator, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	if sys.lamp() == "" {
		return nil, nil
	}
	states := []string{"on", "off"}
	if sys.LocationIndicatorActive == nil {
		states = append(states, "blinking")
	}
	return []driver.Indicator{{Component: "system", ID: base(c.path), States: states}}, nil
}

// lamp returns the state of the locator lamp, or "" when there is none.
func (s *system) lamp() string {
	if s.LocationIndicatorActive != nil {
		if *s.LocationIndicatorActive {
			return "on"
		}
		return "off"
	}
	switch s.IndicatorLED {
	case "Lit":
		return "on"
	case "Off":
		return "off"
	case "Blinking":
		return "blinking"
	case "Unknown":
		return "unknown"
	}
	return ""
}

// Indicator returns the state of the system's lamp.
func (c *Conn) Indicator(ctx context.Context, component, id string) (string, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return "", err
	}
	if err := c.hasLamp(sys, component, id); err != nil {
		return "", err
	}
	return sys.lamp(), nil
}

func (c *Conn) hasLamp(sys *system, component, id string) error {
	if component != "system" || sys.lamp() == "" || id != base(c.path) {
		return fault.New(fault.NotFound, "BMC %s has no indicator %s of component %s", c.Address(), clip(id, 60), clip(component, 60))
	}
	return nil
}

// SetIndicator switches the system's lamp.
func (c *Conn) SetIndicator(ctx context.Context, component, id, state string) error {
	sys, err := c.read(ctx)
	if err != nil {
		return err
	}
	if err := c.hasLamp(sys, component, id); err != nil {
		return err
	}
	cmd := driver.Command{Class: driver.Absolute, Text: "indicator " + state}
	word, ok := map[string]string{"on": "Lit", "off": "Off", "blinking": "Blinking"}[state]
	switch {
	case !ok || state == "blinking" && sys.LocationIndicatorActive != nil:
		return fault.New(fault.Invalid, "indicator state %q is not one that the lamp has", state)
	case sys.LocationIndicatorActive != nil:
		return c.patch(ctx, c.path, cmd, object{"LocationIndicatorActive": state == "on"})
	}
	return c.patch(ctx, c.path, cmd, object{"IndicatorLED": word})
}
