// Package virt is the contract of a hypervisor's virtualization: what a virt driver must offer so that riser can run an instance with
// functions of cards attached.
package virt

import "context"

// State is the state of a domain.
type State string

// States of a domain.
const (
	Absent  State = "absent" // the driver does not know it
	Stopped State = "stopped"
	Running State = "running"
	Paused  State = "paused"
	Crashed State = "crashed"
)

// Domain is a virtual machine.
type Domain struct {
	ID        string // UUID
	Name      string // for people
	VCPUs     int
	MemoryMB  int
	Image     string     // what it boots from; empty boots from nothing
	Functions []Function // in the order of the guest's interfaces
}

// Function is a PCI function that the guest has as a network interface.
type Function struct {
	Address string // on the host, "0000:82:00.3"
	MAC     string // of the port, lower case with colons; the driver sets it, and so may the card's own Linux
}

// Event says that the state of a domain has changed.
type Event struct {
	ID    string
	State State
}

// Driver runs the domains of one host. It is safe for concurrent use. Every method that changes something is idempotent: repeating it changes
// nothing, so that a caller that lost the answer may ask again. Errors name the domain and the host's own words; the error is fault.Unavailable
// when the hypervisor does not answer, and nothing may be assumed then about what it did.
type Driver interface {
	// Name is the driver's name: "fake", "libvirt".
	Name() string

	// Define makes the domain known as d says, stopped if it is new. A running domain gets the new definition with its next start. The error
	// is fault.Conflict when another domain of the host has one of the functions.
	Define(ctx context.Context, d Domain) error

	// Start runs the domain. The error is fault.NotFound when it is not defined.
	Start(ctx context.Context, id string) error

	// Stop stops the domain: it asks the guest first unless hard is set, and returns when the domain is stopped. A domain that is not there is
	// stopped. The error is fault.Timeout when the guest does not stop before ctx ends.
	Stop(ctx context.Context, id string, hard bool) error

	// Destroy stops the domain and forgets it. Its functions belong to the host again when Destroy has returned nil.
	Destroy(ctx context.Context, id string) error

	// Attach gives the domain a function, now if it runs and with each later start. The error is fault.Conflict when another domain has it.
	Attach(ctx context.Context, id string, f Function) error

	// Detach takes the function with this address from the domain. It belongs to the host again when Detach has returned nil. The error is
	// fault.Timeout when the guest does not let go of it before ctx ends.
	Detach(ctx context.Context, id string, address string) error

	// State reads the state of a domain: Absent when it is not known.
	State(ctx context.Context, id string) (State, error)

	// Watch calls fn for each change of a domain's state until ctx ends, and for every domain once at the start and after each reconnection.
	Watch(ctx context.Context, fn func(Event)) error

	// Close ends the driver's connections. Domains go on.
	Close() error
}
