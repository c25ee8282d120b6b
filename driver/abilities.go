package driver

import (
	"context"
	"io"
	"time"

	"github.com/riser-project/riser/node"
)

// BootMode reads and sets the firmware's boot mode, in the API's words: bios, uefi.
type BootMode interface {
	BootModes(ctx context.Context) ([]string, error)

	// BootMode returns the mode in force, or "" when the machine does not say.
	BootMode(ctx context.Context) (string, error)

	// SetBootMode sets the mode of the next start. It is absolute.
	SetBootMode(ctx context.Context, mode string) error
}

// SecureBoot reads and sets UEFI secure boot.
type SecureBoot interface {
	// SecureBoot reports whether the machine started with secure boot.
	SecureBoot(ctx context.Context) (bool, error)

	// SetSecureBoot switches it from the next start on. It is absolute.
	SetSecureBoot(ctx context.Context, on bool) error
}

// NMI sends a non-maskable interrupt. It is relative: the machine may crash, which is its purpose.
type NMI interface {
	InjectNMI(ctx context.Context) error
}

// Indicator is a lamp. State is "on", "off", "blinking" or "unknown".
type Indicator struct {
	Component string // system, chassis, disk, ...
	ID        string
	Readonly  bool
	States    []string // that it can be set to
}

// Indicators reads and sets lamps.
type Indicators interface {
	Indicators(ctx context.Context) ([]Indicator, error)
	Indicator(ctx context.Context, component, id string) (state string, err error)
	SetIndicator(ctx context.Context, component, id, state string) error
}

// Sensor is a reading.
type Sensor struct {
	ID      string  // unique on the machine
	Name    string  // for people
	Kind    string  // Temperature, Fan, Voltage, Power, Current, Other
	Reading float64 // in Unit
	Unit    string  // DSP0268 ReadingUnits ("Cel", "W", "V", "RPM"), empty for none
	Health  string  // OK, Warning, Critical, or empty
}

// Sensors reads the sensors.
type Sensors interface {
	Sensors(ctx context.Context) ([]Sensor, error)
}

// Component is a part of the machine with firmware.
type Component struct {
	ID        string
	Name      string
	Version   string // empty when the machine says none, or nonsense
	Updatable bool
}

// Update is a firmware update on its way, as Firmware tells it.
type Update struct {
	Task    string // where to ask, for UpdateState; empty when the machine keeps no task and is done
	Percent int    // 0 to 100; -1 unknown
	Done    bool
	State   string // the machine's own word
	Message string // the last thing the machine said
}

// Firmware reads versions and updates firmware.
type Firmware interface {
	Components(ctx context.Context) ([]Component, error)

	// UpdateFirmware asks the machine to fetch url and install it on the component, or on what the image is for when component is empty. It is
	// relative.
	UpdateFirmware(ctx context.Context, component, url string) (Update, error)

	// UpdateState looks at an update. A failed one is fault.Conflict with the machine's own words, a task the machine forgot is fault.NotFound.
	UpdateState(ctx context.Context, task string) (Update, error)
}

// Setting is a BIOS setting.
type Setting struct {
	Name  string
	Value any // text, number, boolean or nil
}

// BIOS reads and changes settings of the firmware.
type BIOS interface {
	// Settings returns the settings in force, sorted by name.
	Settings(ctx context.Context) ([]Setting, error)

	// Pending returns the settings that wait for the next start.
	Pending(ctx context.Context) ([]Setting, error)

	// ApplySettings changes settings from the next start on. It is absolute. A name that the machine does not have is fault.Invalid.
	ApplySettings(ctx context.Context, settings []Setting) error

	// ResetSettings brings back the defaults from the next start on. It is absolute.
	ResetSettings(ctx context.Context) error
}

// Media is a drive of virtual media.
type Media struct {
	ID    string
	Kinds []string // cdrom, floppy, disk
	Image string   // URL; empty when nothing is in it
}

// VirtualMedia puts images into virtual drives. Both changes are absolute.
type VirtualMedia interface {
	Media(ctx context.Context) ([]Media, error)
	InsertMedia(ctx context.Context, kind, url string) error
	EjectMedia(ctx context.Context, kind string) error // of every kind when kind is empty
}

// VendorMethod is a method of vendor passthru, in the API's terms.
type VendorMethod struct {
	Name        string
	Description string
	Methods     []string // HTTP methods
	Async       bool
	Shared      bool // needs no exclusive lock
}

// VendorLister is a Driver whose vendor interfaces have methods.
type VendorLister interface {
	// VendorMethods lists the methods of an implementation of the vendor interface.
	VendorMethods(implementation string) []VendorMethod
}

// Vendor calls a method of vendor passthru. Arguments that the method does not take, or lacks, are fault.Invalid. The answer is JSON.
type Vendor interface {
	CallVendor(ctx context.Context, method, httpMethod string, args node.Object) (any, error)
}

// Inventory is what a machine is made of.
type Inventory struct {
	Processors int    // cores if the machine says, else sockets
	Arch       string // x86_64, aarch64
	MemoryMiB  int
	Disks      []Disk
	MACs       []string // of the machine's interfaces, lower case with colons, sorted
	BootMode   string   // bios, uefi, or empty
	BIOS       string   // version
}

// Disk is a drive or, behind a RAID controller, a volume.
type Disk struct {
	Name   string
	Serial string
	Bytes  int64
}

// Volume is a logical drive of a RAID controller.
type Volume struct {
	ID         string
	Name       string
	Controller string // id of its controller
	Level      string // DSP0268 RAIDType ("RAID1"), empty when the machine says none
	Bytes      int64
	Health     string   // OK, Warning, Critical, or empty
	Disks      []string // ids of the drives it is made of
}

// RAID reads logical drives.
type RAID interface {
	Volumes(ctx context.Context) ([]Volume, error)
}

// Inspector reads the inventory out of band.
type Inspector interface {
	Inventory(ctx context.Context) (Inventory, error)
}

// Pusher takes a firmware image itself, instead of fetching it. It is relative. size is that of the image in bytes; a controller that takes
// less is fault.TooLarge.
type Pusher interface {
	PushFirmware(ctx context.Context, component, name string, image io.Reader, size int64) (Update, error)
}

// Clock reads and sets the controller's clock. Setting is absolute.
type Clock interface {
	ControllerTime(ctx context.Context) (time.Time, error)
	SetControllerTime(ctx context.Context, now time.Time) error
}

// Console connects somebody to the machine's serial console.
type Console interface {
	// Console passes bytes both ways until in ends, which is no error, ctx ends, or the controller ends it. The error is fault.Conflict when
	// somebody else has the console, fault.Timeout when ctx ended. The caller ends a blocked reading of in.
	Console(ctx context.Context, in io.Reader, out io.Writer) error
}
