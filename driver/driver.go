// Package driver is the contract of a management controller (BMC): what a protocol must offer so that riser can power, boot, inspect and update
// the machine behind it.
//
// A Driver opens a Conn to one machine. What the machine can do beyond that is asked by As, one small interface for each ability. Every method
// that changes something calls Sending at the last moment before the command leaves, so that a conductor that lost its lease, or has sent
// the command before, is stopped there.
package driver

import (
	"context"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Driver is a hardware type: a way to reach machines. It is safe for concurrent use.
type Driver interface {
	// Name is the hardware type as the API spells it ("redfish", "ipmi", "fake-hardware").
	Name() string

	// Interfaces lists, for each kind of interface, the implementations the type supports. The first is the default.
	Interfaces() map[node.Interface][]string

	// Properties lists the driver_info keys that the type reads.
	Properties() []Property

	// Validate checks driver_info without touching the network. The error is fault.Invalid and names every key that is missing or wrong.
	Validate(info node.Object) error

	// Address returns the controller's address in driver_info ("https://bmc-1.example"), for limits per controller and for error texts. It
	// never holds a credential, and is empty when there is no controller.
	Address(info node.Object) string

	// Open connects to the machine of n, whose DriverInfo holds its secrets. It MUST NOT send a command that changes the machine. The
	// error is fault.Timeout when the controller did not answer, fault.Unauthorized when it refused the credentials.
	Open(ctx context.Context, n *node.Node) (Conn, error)
}

// Property describes a driver_info key.
type Property struct {
	Key         string
	Description string
}

// Conn is a connection to one machine's controller. It is used by one goroutine at a time. Abilities are found by As.
//
// Every method returns promptly with fault.Timeout when ctx ends or the controller is silent for longer than the driver's own limit. Texts of
// errors name the controller's address and never a credential.
type Conn interface {
	// Close gives back what the connection holds at the controller (a Redfish session, an IPMI session). It may be called twice.
	Close() error
}

// Addressed is a Conn that says where its controller is, for texts: "https://bmc-1.example". It never holds a credential.
type Addressed interface {
	Address() string
}

// As returns c as T, and whether c has that ability. A Conn that wraps another offers it by an Unwrap method.
func As[T any](c Conn) (T, bool) {
	for c != nil {
		if t, ok := c.(T); ok {
			return t, true
		}
		w, ok := c.(interface{ Unwrap() Conn })
		if !ok {
			break
		}
		c = w.Unwrap()
	}
	var none T
	return none, false
}

// Unsupported is the fault for an ability that the machine does not have.
func Unsupported(what string) error {
	return fault.New(fault.Unsupported, "the driver of this node does not support %s", what)
}

// PowerCommand is what a controller is told; Redfish ResetType names (DSP0268, Resource.ResetType).
type PowerCommand string

// The power commands. On and ForceOff name the state they lead to and may be repeated; the others may not.
const (
	PowerOn          PowerCommand = "On"
	ForceOff         PowerCommand = "ForceOff"
	GracefulShutdown PowerCommand = "GracefulShutdown"
	ForceRestart     PowerCommand = "ForceRestart"
	GracefulRestart  PowerCommand = "GracefulRestart"
	PowerCycle       PowerCommand = "PowerCycle"
)

// Power reads and changes the power of a machine.
type Power interface {
	// PowerState reads the state the controller reports: node.PowerOn, node.PowerOff, or "" when it does not know. A controller may report a
	// state that is not the truth; ChangePower tells how a change is believed.
	PowerState(ctx context.Context) (node.PowerState, error)

	// PowerCommands lists the commands that the controller says it accepts.
	PowerCommands(ctx context.Context) ([]PowerCommand, error)

	// SendPower sends cmd once. A nil error says only that the controller accepted it.
	SendPower(ctx context.Context, cmd PowerCommand) error
}

// BootState is how far a machine has come since power on.
type BootState struct {
	Booted  bool      // the operating system, or in NIC mode the firmware, is up
	Alive   bool      // the machine runs something: it is starting or has started
	Reports bool      // the controller is known to report each boot, so a machine that is on and not alive did not start
	State   string    // the controller's own word ("OsIsRunning", "None")
	Reset   time.Time // last reset, zero when the controller does not say
}

// Boot tells whether a machine that is on has really started: evidence of life beyond the power state.
type Boot interface {
	// BootState reads the boot progress (DSP0268 ComputerSystem.BootProgress and OEM states).
	BootState(ctx context.Context) (BootState, error)
}

// BootDevice reads and sets the device a machine boots from, in the API's words: pxe, disk, cdrom, bios, safe, wanboot, uefihttp, ...
type BootDevice interface {
	// BootDevices lists the devices the machine accepts.
	BootDevices(ctx context.Context) ([]string, error)

	// BootDevice returns the device of the next boot, and whether it is kept for later ones. Without an override, both are zero.
	BootDevice(ctx context.Context) (device string, persistent bool, err error)

	// SetBootDevice sets the device of the next boot, or of every boot when persistent. It is absolute: repeating it changes nothing.
	SetBootDevice(ctx context.Context, device string, persistent bool) error
}

// Identity is what a machine says of itself.
type Identity struct {
	SystemUUID   string // DMI system UUID, lower case with hyphens
	Manufacturer string
	Model        string
	Serial       string // of the machine or, for a DPU, of the card; blanks trimmed
	PartNumber   string
	CardSerials  []string // of the cards that a host's controller sees in its slots; blanks trimmed
	BaseMAC      string   // lower case with colons
}

// Identifier reads a machine's identity.
type Identifier interface {
	Identity(ctx context.Context) (Identity, error)
}

// Raw sends a raw IPMI request (network function, command, data) and returns the answer's data without the completion code. One that the
// hardware profile of the machine does not allow (RawList) is fault.Forbidden and is not sent.
type Raw interface {
	SendRaw(ctx context.Context, request []byte) ([]byte, error)
}
