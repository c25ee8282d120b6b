// Package fault names the kinds of error that a caller may act on; every other error is internal.
//
// A fault carries a text for the person who caused it. Texts of faults are shown to clients, so they must never hold a secret;
// texts of other errors are logged and hidden behind a request id.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what a caller may do about an error.
type Kind uint8

// The kinds. Internal is the zero value and the kind of every error that is not a fault.
const (
	Internal      Kind = iota // nothing the caller can do; logged
	Invalid                   // the request is wrong and stays wrong
	NotFound                  // the named object does not exist, or may not be seen
	Conflict                  // the object is in a state that forbids the request
	Locked                    // another operation holds the object; try again later
	Forbidden                 // the caller may see the object but not do this
	Unauthorized              // the caller is not known
	NotAcceptable             // the API version in force does not have this
	Unsupported               // the driver or hardware cannot do this
	TooLarge                  // a limit of size or depth was passed
	MediaType                 // the body is of a type that is not accepted
	Unavailable               // the service cannot answer now; try again later
	Full                      // no room to store the request; nothing was changed
	Timeout                   // the far end did not answer in time; the outcome is as the text says
	Lost                      // ownership of the object was lost; the work must be dropped
)

var names = [...]string{
	"internal", "invalid", "not found", "conflict", "locked", "forbidden", "unauthorized", "not acceptable", "unsupported",
	"too large", "media type", "unavailable", "full", "timeout", "lost",
}

// String returns the kind's name in plain words.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is a fault: a kind, a text for the caller, and the cause if there is one.
type Error struct {
	Kind Kind
	Text string
	Err  error
}

// Error returns the text for the caller.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// New makes a fault of kind k. The format follows fmt.Errorf, and %w keeps a cause.
func New(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Text: err.Error(), Err: errors.Unwrap(err)}
}

// KindOf returns the kind of the outermost fault in err's chain, or Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is a fault of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }
