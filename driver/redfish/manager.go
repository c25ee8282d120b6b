package redfish

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

var _ driver.Clock = (*Conn)(nil)

// manager reads the first manager of the system.
func (c *Conn) manager(ctx context.Context) (path string, m managerBody, err error) {
	sys, err := c.read(ctx)
	if err != nil {
		return "", m, err
	}
	if len(sys.Links.ManagedBy) == 0 || sys.Links.ManagedBy[0].ID == "" {
		return "", m, fault.New(fault.Unsupported, "BMC %s names no manager of its system", c.Address())
	}
	path = sys.Links.ManagedBy[0].ID
	_, err = c.service.read(ctx, path, &m)
	return path, m, err
}

// managerBody is DSP0268 Manager.
type managerBody struct {
	FirmwareVersion string
	DateTime        string
	LastResetTime   string
	Actions         struct {
		Reset struct {
			Target    string `json:"target"`
			Allowable words  `json:"ResetType@Redfish.AllowableValues"`
		} `json:"#Manager.Reset"`
	}
}

// ManagerVersion returns the firmware version of the controller itself.
func (c *Conn) ManagerVersion(ctx context.Context) (string, error) {
	_, m, err := c.manager(ctx)
	return real(m.FirmwareVersion), err
}

// ManagerStatus returns the controller's firmware version, and the time of its last restart in its own words, empty when it does not tell.
func (c *Conn) ManagerStatus(ctx context.Context) (version, lastReset string, err error) {
	_, m, err := c.manager(ctx)
	return real(m.FirmwareVersion), real(m.LastResetTime), err
}

// ResetManager restarts the controller itself: gracefully when it can. It is relative. The session is lost with it.
func (c *Conn) ResetManager(ctx context.Context) error {
	path, m, err := c.manager(ctx)
	if err != nil {
		return err
	}
	kind := "GracefulRestart"
	if len(m.Actions.Reset.Allowable) > 0 && !slices.Contains(m.Actions.Reset.Allowable, kind) {
		kind = "ForceRestart"
	}
	_, err = c.service.send(ctx, driver.Command{Class: driver.Relative, Text: "Manager.Reset " + kind},
		request{method: http.MethodPost, path: first(m.Actions.Reset.Target, path+"/Actions/Manager.Reset"), body: object{"ResetType": kind}})
	return err
}

// ControllerTime reads Manager.DateTime.
func (c *Conn) ControllerTime(ctx context.Context) (time.Time, error) {
	_, m, err := c.manager(ctx)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, m.DateTime)
	if err != nil {
		return time.Time{}, fault.New(fault.Unsupported, "BMC %s does not tell its time", c.Address())
	}
	return t, nil
}

// SetControllerTime writes Manager.DateTime.
func (c *Conn) SetControllerTime(ctx context.Context, now time.Time) error {
	path, _, err := c.manager(ctx)
	if err != nil {
		return err
	}
	text := now.UTC().Format(time.RFC3339)
	return c.patch(ctx, path, driver.Command{Class: driver.Absolute, Text: "controller clock " + text}, object{"DateTime": text,
		"DateTimeLocalOffset": "+00:00"})
}
