package redfish

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// bootOverride is the Boot object of a ComputerSystem.
type bootOverride struct {
	Enabled string `json:"BootSourceOverrideEnabled"`
	Target  string `json:"BootSourceOverrideTarget"`
	Mode    string `json:"BootSourceOverrideMode"`
	Targets words  `json:"BootSourceOverrideTarget@Redfish.AllowableValues"`
	Modes   words  `json:"BootSourceOverrideMode@Redfish.AllowableValues"`
}

// devices pairs the API's words with DSP0268 BootSource.
var devices = []struct{ api, redfish string }{
	{"pxe", "Pxe"}, {"disk", "Hdd"}, {"cdrom", "Cd"}, {"bios", "BiosSetup"}, {"uefihttp", "UefiHttp"}, {"usb", "Usb"}, {"floppy",
		"Floppy"}, {"sdcard", "SDCard"},
	{"uefishell", "UefiShell"}, {"diags", "Diags"}, {"none", "None"},
}

func deviceName(target string) string {
	for _, d := range devices {
		if d.redfish == target {
			return d.api
		}
	}
	return strings.ToLower(target)
}

// BootDevices lists the override targets that the controller allows.
func (c *Conn) BootDevices(ctx context.Context) ([]string, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	return sys.Boot.devices(), nil
}

func (b *bootOverride) devices() []string {
	var list []string
	for _, d := range devices {
		if d.api != "none" && (slices.Contains(b.Targets, d.redfish) || len(b.Targets) == 0 && slices.Contains([]string{"pxe", "disk", "cdrom"}, d.api)) {
			list = append(list, d.api)
		}
	}
	return list
}

// BootDevice reads the override.
func (c *Conn) BootDevice(ctx context.Context) (device string, persistent bool, err error) {
	sys, err := c.read(ctx)
	if err != nil {
		return "", false, err
	}
	if b := sys.Boot; (b.Enabled == "Once" || b.Enabled == "Continuous") && b.Target != "" && b.Target != "None" {
		return deviceName(b.Target), b.Enabled == "Continuous", nil
	}
	return "", false, nil
}

// SetBootDevice sets the override and reads it back: an override that the controller accepted and forgot is fault.Unavailable.
func (c *Conn) SetBootDevice(ctx context.Context, device string, persistent bool) error {
	sys, err := c.read(ctx)
	if err != nil {
		return err
	}
	want := bootOverride{Enabled: "Once"}
	if persistent {
		want.Enabled = "Continuous"
	}
	for _, d := range devices {
		if d.api == device {
			want.Target = d.redfish
		}
	}
	if has := sys.Boot.devices(); want.Target == "" || !slices.Contains(has, device) {
		return fault.New(fault.Invalid, "Invalid boot device %s specified. BMC %s has %s", device, c.Address(), strings.Join(has, ", "))
	}
	boot := object{"BootSourceOverrideEnabled": want.Enabled, "BootSourceOverrideTarget": want.Target}
	cmd := driver.Command{Class: driver.Absolute, Text: fmt.Sprintf("boot override %s %s", want.Target, want.Enabled)}
	err = c.patchSystem(ctx, sys, cmd, object{"Boot": boot})
	if err != nil && (!fault.Is(err, fault.Timeout) || ctx.Err() != nil) {
		return err
	}
	if got := c.kept(ctx, sys, want); err == nil || got == nil {
		return got
	}
	return err // the answer was lost, and so was the change
}

// kept looks a few times whether the override is there, at the system or at its settings.
func (c *Conn) kept(ctx context.Context, sys *system, want bootOverride) error {
	var got bootOverride
	for range 5 {
		for _, path := range []string{c.path, sys.Settings.Object.ID} {
			if path == "" {
				continue
			}
			var now system
			if _, err := c.service.read(ctx, path, &now); err != nil {
				return err
			}
			if now.Boot.Enabled == want.Enabled && now.Boot.Target == want.Target {
				return nil
			}
			got = now.Boot
		}
		if err := c.pause(ctx); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "BMC %s accepted the boot override %s %s but still has %q %q; try again, and if it stays so, reset the "+
		"controller or set the boot "+
		"order in the machine's own setup", c.Address(), want.Target, want.Enabled, got.Target, got.Enabled)
}

// patchSystem changes properties of the system: at its settings object when it has one that takes them, else at the system itself.
func (c *Conn) patchSystem(ctx context.Context, sys *system, cmd driver.Command, body object) error {
	if path := sys.Settings.Object.ID; path != "" {
		err := c.patch(ctx, path, cmd, body)
		if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Unsupported) {
			return err
		}
	}
	return c.patch(ctx, c.path, cmd, body)
}

// patch sends an absolute change with the resource's ETag (RFC 9110, section 13.1.1). When the resource changed in between, it is read and
// sent once more; a controller whose own ETag never matches gets the wildcard.
func (c *Conn) patch(ctx context.Context, path string, cmd driver.Command, body object) error {
	for try := 1; ; try++ {
		a, err := c.service.read(ctx, path, nil)
		if err != nil {
			return err
		}
		match := a.header.Get("ETag")
		if try == 3 {
			match = "*"
		}
		a, err = c.service.send(ctx, cmd, request{method: http.MethodPatch, path: path, body: body, match: match})
		if a == nil || a.status != http.StatusPreconditionFailed || try == 3 {
			return err
		}
	}
}
