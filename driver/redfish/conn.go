package redfish

import (
	"context"
	"sync"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// Conn is a connection to one machine. Besides the abilities of package driver that have methods here, it has no others.
type Conn struct {
	driver  *Driver
	service *service
	path    string // of the ComputerSystem
	once    sync.Once
}

var (
	_ driver.Conn       = (*Conn)(nil)
	_ driver.Addressed  = (*Conn)(nil)
	_ driver.Power      = (*Conn)(nil)
	_ driver.Boot       = (*Conn)(nil)
	_ driver.BootDevice = (*Conn)(nil)
	_ driver.Identifier = (*Conn)(nil)
)

// Close gives the session back.
func (c *Conn) Close() error {
	c.once.Do(func() { c.driver.leave(c.service) })
	return nil
}

// Address returns the controller's URL.
func (c *Conn) Address() string { return c.service.set.base }

// system is DSP0268 ComputerSystem.
type system struct {
	UUID          string
	Manufacturer  string
	Model         string
	SerialNumber  string
	PartNumber    string
	PowerState    string
	BootProgress  *progress
	LastResetTime string
	Boot          bootOverride
	Actions       struct {
		Reset struct {
			Target    string `json:"target"`
			Info      string `json:"@Redfish.ActionInfo"`
			Allowable words  `json:"ResetType@Redfish.AllowableValues"`
		} `json:"#ComputerSystem.Reset"`
	}
	Settings struct {
		Object reference `json:"SettingsObject"`
	} `json:"@Redfish.Settings"`
	Bios         reference
	SecureBoot   reference
	PCIeDevices  []reference
	VirtualMedia reference

	LocationIndicatorActive *bool
	IndicatorLED            string

	Links struct {
		Chassis   []reference
		ManagedBy []reference
	}

	etag string
}

type progress struct {
	LastState     string
	LastStateTime string
	OemLastState  string
}

// read gets the system as it is now.
func (c *Conn) read(ctx context.Context) (*system, error) {
	sys := new(system)
	a, err := c.service.read(ctx, c.path, sys)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Invalid, "BMC %s has no system %s; correct redfish_system_id", c.Address(), c.path)
	}
	if err != nil {
		return nil, err
	}
	sys.etag = a.header.Get("ETag")
	return sys, nil
}

// pause waits between two looks at something.
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
