package redfish

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

var (
	_ driver.BIOS       = (*Conn)(nil)
	_ driver.SecureBoot = (*Conn)(nil)
	_ driver.BootMode   = (*Conn)(nil)
)

// biosBody is DSP0268 Bios.
type biosBody struct {
	Attributes object
	Settings   struct {
		Object reference `json:"SettingsObject"`
	} `json:"@Redfish.Settings"`
	Actions struct {
		Reset struct {
			Target string `json:"target"`
		} `json:"#Bios.ResetBios"`
	}
}

// settings lists attributes by name, without those that hold passwords.
func (b *biosBody) settings() []driver.Setting {
	var list []driver.Setting
	for name, v := range b.Attributes {
		switch v.(type) {
		case string, float64, bool, nil:
		default:
			continue
		}
		if !strings.Contains(strings.ToLower(name), "password") {
			list = append(list, driver.Setting{Name: name, Value: v})
		}
	}
	slices.SortFunc(list, func(a, b driver.Setting) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// bios reads the machine's Bios resource.
func (c *Conn) bios(ctx context.Context) (path string, b biosBody, err error) {
	sys, err := c.read(ctx)
	if err != nil {
		return "", b, err
	}
	if path = sys.Bios.ID; path == "" {
		return "", b, fault.New(fault.Unsupported, "BMC %s shows no BIOS settings", c.Address())
	}
	_, err = c.service.read(ctx, path, &b)
	return path, b, err
}

// Settings returns the BIOS attributes in force.
func (c *Conn) Settings(ctx context.Context) ([]driver.Setting, error) {
	_, b, err := c.bios(ctx)
	return b.settings(), err
}

// Pending returns the attributes at the settings object.
func (c *Conn) Pending(ctx context.Context) ([]driver.Setting, error) {
	_, b, err := c.bios(ctx)
	if err != nil || b.Settings.Object.ID == "" {
		return nil, err
	}
	var next biosBody
	_, err = c.service.read(ctx, b.Settings.Object.ID, &next)
	return next.settings(), err
}

// ApplySettings writes attributes to the settings object. All names must be attributes of the machine.
func (c *Conn) ApplySettings(ctx context.Context, settings []driver.Setting) error {
	path, b, err := c.bios(ctx)
	if err != nil {
		return err
	}
	attributes, names := object{}, []string{}
	var missing []string
	for _, s := range settings {
		if _, ok := b.Attributes[s.Name]; !ok {
			missing = append(missing, s.Name)
		}
		attributes[s.Name] = s.Value
		names = append(names, s.Name)
	}
	switch {
	case len(settings) == 0:
		return fault.New(fault.Invalid, "no BIOS settings were given")
	case len(missing) > 0:
		return fault.New(fault.Invalid, "BMC %s has no BIOS setting %s", c.Address(), clip(strings.Join(missing, ", "), 300))
	}
	slices.Sort(names)
	if b.Settings.Object.ID != "" {
		path = b.Settings.Object.ID
	}
	return c.patch(ctx, path, driver.Command{Class: driver.Absolute, Text: "BIOS settings " + clip(strings.Join(names, ", "), 300)},
		object{"Attributes": attributes})
}

// ResetSettings sends Bios.ResetBios.
func (c *Conn) ResetSettings(ctx context.Context) error {
	_, b, err := c.bios(ctx)
	if err != nil {
		return err
	}
	if b.Actions.Reset.Target == "" {
		return fault.New(fault.Unsupported, "BMC %s cannot reset its BIOS settings", c.Address())
	}
	_, err = c.service.send(ctx, driver.Command{Class: driver.Absolute, Text: "Bios.ResetBios"}, request{method: http.MethodPost,
		path: b.Actions.Reset.Target, body: object{}})
	return err
}

// secureBoot is DSP0268 SecureBoot.
type secureBoot struct {
	Current string `json:"SecureBootCurrentBoot"`
	Enable  *bool  `json:"SecureBootEnable"`
	Actions struct {
		Keys struct {
			Target string `json:"target"`
		} `json:"#SecureBoot.ResetKeys"`
	}
}

func (c *Conn) secureBoot(ctx context.Context) (path string, s secureBoot, err error) {
	sys, err := c.read(ctx)
	if err != nil {
		return "", s, err
	}
	if path = sys.SecureBoot.ID; path == "" {
		return "", s, driver.Unsupported("secure boot")
	}
	_, err = c.service.read(ctx, path, &s)
	return path, s, err
}

// SecureBoot reads SecureBootCurrentBoot.
func (c *Conn) SecureBoot(ctx context.Context) (bool, error) {
	_, s, err := c.secureBoot(ctx)
	return s.Current == "Enabled", err
}

// SetSecureBoot writes SecureBootEnable.
func (c *Conn) SetSecureBoot(ctx context.Context, on bool) error {
	path, _, err := c.secureBoot(ctx)
	if err != nil {
		return err
	}
	state := "off"
	if on {
		state = "on"
	}
	return c.patch(ctx, path, driver.Command{Class: driver.Absolute, Text: "secure boot " + state}, object{"SecureBootEnable": on})
}

// ResetKeys sends SecureBoot.ResetKeys: kind is ResetAllKeysToDefault or DeleteAllKeys. It is absolute.
func (c *Conn) ResetKeys(ctx context.Context, kind string) error {
	_, s, err := c.secureBoot(ctx)
	if err != nil {
		return err
	}
	if s.Actions.Keys.Target == "" {
		return fault.New(fault.Unsupported, "BMC %s cannot reset secure boot keys", c.Address())
	}
	_, err = c.service.send(ctx, driver.Command{Class: driver.Absolute, Text: "SecureBoot.ResetKeys " + kind},
		request{method: http.MethodPost, path: s.Actions.Keys.Target, body: object{"ResetKeysType": kind}})
	return err
}

// modes pairs the API's boot modes with BootSourceOverrideMode.
var modes = []struct{ api, redfish string }{{"bios", "Legacy"}, {"uefi", "UEFI"}}

// BootModes lists the boot modes that the machine allows.
func (c *Conn) BootModes(ctx context.Context) ([]string, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, m := range modes {
		if len(sys.Boot.Modes) == 0 || slices.Contains(sys.Boot.Modes, m.redfish) {
			list = append(list, m.api)
		}
	}
	return list, nil
}

// BootMode reads BootSourceOverrideMode.
func (c *Conn) BootMode(ctx context.Context) (string, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return "", err
	}
	return sys.Boot.mode(), nil
}

func (b *bootOverride) mode() string {
	for _, m := range modes {
		if m.redfish == b.Mode {
			return m.api
		}
	}
	return ""
}

// SetBootMode writes BootSourceOverrideMode and reads it back.
func (c *Conn) SetBootMode(ctx context.Context, mode string) error {
	sys, err := c.read(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(modes, func(m struct{ api, redfish string }) bool { return m.api == mode })
	if i < 0 || len(sys.Boot.Modes) > 0 && !slices.Contains(sys.Boot.Modes, modes[i].redfish) {
		return fault.New(fault.Invalid, "boot mode %q is not one of those of BMC %s (%s)", mode, c.Address(), strings.Join(sys.Boot.Modes, ", "))
	}
	boot := object{"BootSourceOverrideMode": modes[i].redfish}
	if err := c.patchSystem(ctx, sys, driver.Command{Class: driver.Absolute, Text: "boot mode " + modes[i].redfish}, object{"Boot": boot}); err != nil {
		return err
	}
	var got string
	for range 5 {
		if got, err = c.BootMode(ctx); err != nil || got == mode {
			return err
		}
		if err := c.pause(ctx); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "BMC %s accepted the boot mode %s but still has %q; set it in the machine's own setup", c.Address(), mode, got)
}
