package bluefield

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// Mode is what a card is to its host.
type Mode string

// The modes.
const (
	DPU Mode = "DpuMode" // the card's own system handles the host's traffic
	NIC Mode = "NicMode" // the card is a plain adapter
)

// oem is the vendor's part of the system.
type oem struct {
	Mode      string
	HostRshim string
	BaseMAC   string
}

// Mode reads the mode in force. It is fault.Unsupported where the controller's version cannot tell.
func (c *Conn) Mode(ctx context.Context) (Mode, error) {
	a, err := c.about(ctx)
	if err != nil {
		return "", err
	}
	if tell, has := a.version.has(noModeReading); has {
		return "", fault.New(fault.Unsupported, "BMC %s (%s): %s; update the controller", c.Address(), a.version, tell)
	}
	var o oem
	if err := c.Get(ctx, oemPath, &o); err != nil && !fault.Is(err, fault.NotFound) {
		return "", err
	}
	if m := Mode(o.Mode); m == DPU || m == NIC {
		return m, nil
	}
	settings, err := c.Settings(ctx)
	if err != nil {
		return "", c.explain(a, err)
	}
	for _, s := range settings {
		if m, ok := s.Value.(string); ok && s.Name == "NicMode" && (Mode(m) == DPU || Mode(m) == NIC) {
			return Mode(m), nil
		}
	}
	if tell, has := a.version.has(attributesVanish); has {
		return "", fault.New(fault.Unsupported, "BMC %s (%s) does not tell its mode: %s", c.Address(), a.version, tell)
	}
	return "", fault.New(fault.Unsupported, "BMC %s does not tell its mode; the card may not have booted since its controller started", c.Address())
}

// explain adds to an error of a reading what is known of the controller's version.
func (c *Conn) explain(a *card, err error) error {
	for _, q := range []quirk{biosBrokenInNIC, oemHangsInNIC} {
		if tell, has := a.version.has(q); has {
			return fault.New(fault.KindOf(err), "%w (%s: %s)", err, a.version, tell)
		}
	}
	return err
}

// SetMode sets the mode. It is absolute, and takes effect when the card was restarted twice and then its host was powered off and on.
func (c *Conn) SetMode(ctx context.Context, m Mode) error {
	if m != DPU && m != NIC {
		return fault.New(fault.Invalid, "mode %q is not one of %s, %s", m, DPU, NIC)
	}
	a, err := c.about(ctx)
	switch {
	case err != nil:
		return err
	case a.family == nil:
		return fault.New(fault.Unsupported, "BMC %s does not tell which BlueField it is on; its mode cannot be set", c.Address())
	case a.family.modeAction:
		_, err := c.Post(ctx, driver.Command{Class: driver.Absolute, Text: "Mode.Set " + string(m)}, oemPath+"/Actions/Mode.Set",
			map[string]any{"Mode": string(m)})
		return err
	}
	return c.ApplySettings(ctx, []driver.Setting{{Name: "NicMode", Value: string(m)}})
}

// HostRshim reports whether the host owns the rshim, through which the card's software can be replaced.
func (c *Conn) HostRshim(ctx context.Context) (bool, error) {
	var o oem
	if err := c.Get(ctx, oemPath, &o); err != nil {
		return false, err
	}
	if o.HostRshim == "" {
		return false, fault.New(fault.Unsupported, "BMC %s does not tell whether its host has the rshim", c.Address())
	}
	return o.HostRshim == "Enabled", nil
}

// SetHostRshim gives the rshim to the host, or takes it away. It is absolute.
func (c *Conn) SetHostRshim(ctx context.Context, on bool) error {
	state := "Disabled"
	if on {
		state = "Enabled"
	}
	_, err := c.Post(ctx, driver.Command{Class: driver.Absolute, Text: "HostRshim.Set " + state}, oemPath+"/Actions/HostRshim.Set",
		map[string]any{"HostRshim": state})
	return err
}

// ControllerRshim reports whether the card's controller owns the rshim.
func (c *Conn) ControllerRshim(ctx context.Context) (bool, error) {
	var m struct {
		Rshim struct {
			Enabled bool `json:"BmcRShimEnabled"`
		} `json:"BmcRShim"`
	}
	err := c.Get(ctx, managerOem, &m)
	return m.Rshim.Enabled, err
}

// SetControllerRshim gives the rshim to the controller, or takes it away, and waits until it shows. While its host has it, the controller does
// not get it; that is fault.Conflict. It is absolute.
func (c *Conn) SetControllerRshim(ctx context.Context, on bool) error {
	cmd := driver.Command{Class: driver.Absolute, Text: fmt.Sprintf("BmcRShimEnabled %v", on)}
	if err := c.Patch(ctx, cmd, managerOem, map[string]any{"BmcRShim": map[string]any{"BmcRShimEnabled": on}}); err != nil {
		return err
	}
	deadline := time.Now().Add(c.driver.options.Rshim)
	for {
		now, err := c.ControllerRshim(ctx)
		if err != nil || now == on {
			return err
		}
		if !time.Now().Before(deadline) {
			break
		}
		if err := c.pause(ctx); err != nil {
			return err
		}
	}
	if host, err := c.HostRshim(ctx); err == nil && host && on {
		return fault.New(fault.Conflict, "BMC %s did not get the rshim: its host has it; take it away with step management.set_host_rshim first",
			c.Address())
	}
	return fault.New(fault.Conflict, "BMC %s accepted BmcRShimEnabled %v, but it did not take effect within %s; restart the controller", c.Address(),
		on, c.driver.options.Rshim)
}

func (c *Conn) pause(ctx context.Context) error {
	t := time.NewTimer(c.driver.options.Poll)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Timeout, "BMC %s: given up while waiting: %w", c.Address(), context.Cause(ctx))
	}
}

// PrivilegeNames are the things that a host may or may not do to its card.
var PrivilegeNames = []string{
	"HostPrivFlashAccess", "HostPrivFwUpdate", "HostPrivNicReset", "HostPrivNvGlobal", "HostPrivNvHost", "HostPrivNvInternalCpu", "HostPrivNvPort", "HostPrivPccUpdate",
}

// Privileges reads what the host may do: Default, Enabled or Disabled by name.
func (c *Conn) Privileges(ctx context.Context) (map[string]string, error) {
	var p struct {
		Values map[string]string `json:"ExternalHostPrivilege"`
	}
	if err := c.Get(ctx, privileges, &p); err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, fault.New(fault.Unsupported, "BMC %s does not tell what its host may do", c.Address())
		}
		return nil, err
	}
	return p.Values, nil
}

// SetPrivileges changes what the host may do. It is absolute, and takes effect at the card's next restart.
func (c *Conn) SetPrivileges(ctx context.Context, values map[string]string) error {
	if err := checkPrivileges(values); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	body, words := map[string]any{}, []string{}
	for name, v := range values {
		body[name] = v
		words = append(words, name+"="+v)
	}
	slices.Sort(words)
	cmd := driver.Command{Class: driver.Absolute, Text: "ExternalHostPrivileges.Set " + strings.Join(words, " ")}
	_, err := c.Post(ctx, cmd, privileges+"/Actions/ExternalHostPrivileges.Set", body)
	return err
}

func checkPrivileges(values map[string]string) error {
	if len(values) == 0 {
		return fmt.Errorf("privileges must name at least one of %s", strings.Join(PrivilegeNames, ", "))
	}
	for name, v := range values {
		if !slices.Contains(PrivilegeNames, name) {
			return fmt.Errorf("privilege %.60q is not one of %s", name, strings.Join(PrivilegeNames, ", "))
		}
		if v != "Default" && v != "Enabled" && v != "Disabled" {
			return fmt.Errorf("privilege %s: %.40q is not one of Default, Enabled, Disabled", name, v)
		}
	}
	return nil
}
