package driver

import "context"

// Class says what may be done about a command whose outcome is not known.
type Class uint8

// The classes. Read is the zero value.
const (
	Read     Class = iota // changes nothing
	Absolute              // names the state it leads to; may be repeated
	Relative              // changes whatever is there (a restart, a raw command); sent at most once, its outcome found by evidence
)

// String returns the class's name.
func (c Class) String() string {
	switch c {
	case Read:
		return "read"
	case Absolute:
		return "absolute"
	case Relative:
		return "relative"
	}
	return "unknown"
}

// Command is a command on its way to a controller, as it is recorded and shown. Text never holds a secret.
type Command struct {
	Class Class
	Text  string // "ComputerSystem.Reset ForceOff", "raw 0x32 0x6a 0x01"
}

// Guard decides at the last moment whether a command may leave. An error stops it.
type Guard func(ctx context.Context, cmd Command) error

type guardKey struct{}

// WithGuard returns a context under which each command that changes something is first shown to g.
func WithGuard(ctx context.Context, g Guard) context.Context {
	return context.WithValue(ctx, guardKey{}, g)
}

// Sending MUST be called by a driver immediately before each command of class Absolute or Relative is put on the wire, once for each time it is
// put there. On an error the command MUST NOT be sent, and the error is returned to the caller unchanged in kind.
func Sending(ctx context.Context, cmd Command) error {
	g, ok := ctx.Value(guardKey{}).(Guard)
	if !ok {
		return nil
	}
	return g(ctx, cmd)
}
