// Package ovsdb reads and writes the tables of Open vSwitch and OVN that riser touches.
//
// Each database is one supervised connection ([Conn]) with a replica of those tables: [Switch] for Open_vSwitch on a
// card, [Northbound] and [Southbound] for OVN. Reads are answered by the replica, which [Health] dates. A write is one
// transaction (RFC 7047 section 4.1.3) whose "wait" operations repeat what it was planned upon, so that the database
// itself refuses a write that another one has overtaken; the write is then planned anew.
//
// Every row that riser makes carries marks in its external_ids: riser-owner, and riser-generation where orders have
// one. A row without riser's mark belongs to somebody else and is never changed: it is reported as a [ForeignError].
//
// A write whose connection breaks may or may not have been carried out. All writes here are idempotent, so repeat it.
package ovsdb

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// Marks of riser in a row's external_ids.
const (
	keyOwner      = "riser-owner"
	keyGeneration = "riser-generation" // of the order that was carried out last
)

// defaultOwner is the value of riser-owner unless the configuration has another.
const defaultOwner = "riser"

// defaultStaleAfter is when a replica that nothing confirmed counts as stale.
const defaultStaleAfter = 15 * time.Second

var (
	// ErrNotConnected means that there is no connection now, or that it broke while a write was under way. It is made
	// again as soon as the server lets it.
	ErrNotConnected = errors.New("not connected to the OVSDB server")
	// ErrStale means that the replica may be behind the database, for longer than the configuration allows.
	ErrStale = errors.New("the replica of the database is stale")
	// ErrNotFound means that a row that the call names does not exist.
	ErrNotFound = errors.New("not found in the database")
	// ErrOldGeneration means that an order with a higher generation was carried out before.
	ErrOldGeneration = errors.New("a newer order was carried out before")
	// ErrHeld means that an interface serves another port that riser plugged.
	ErrHeld = errors.New("the interface serves another port")
	// ErrSuperseded means that another session has taken the switch over; this one must not write any more.
	ErrSuperseded = errors.New("another session has taken the switch over")
	// ErrInUse means that a row is still needed by others.
	ErrInUse = errors.New("still in use")
	// ErrConflict means that other writers changed the same rows at each try.
	ErrConflict = errors.New("other writers keep changing the same rows")
)

// ForeignError tells of a row in the way that riser does not own and has left alone.
type ForeignError struct {
	Table string // "Interface"
	Name  string // of the row
	Owner string // who made it, as far as the row tells: "ovn (representor)", "riser-owner other", "unknown"
	Claim string // what it occupies: "iface-id 0fc1…", "name pf0vf3"
}

// Error names the row, its owner and what it occupies.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s %s of another owner (%s) occupies %s; it is left alone", e.Table, e.Name, e.Owner, e.Claim)
}

// Config says where a database is and how its connection is kept.
type Config struct {
	// Endpoint is "unix:/path" or "tcp:host:port", an IPv6 host in brackets; several, separated by commas, are the
	// servers of one cluster and are tried in turn.
	Endpoint string
	// Owner is the value of riser-owner on rows made through this connection, and tells them from others' rows;
	// "riser" if "".
	Owner string
	// StaleAfter is the age from which an unconfirmed replica counts as stale; 15 s if 0. The server is probed after a
	// third of it without traffic, and given up after another third.
	StaleAfter time.Duration
	// Log receives a line when the connection is lost or made; nil for none.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Owner == "" {
		c.Owner = defaultOwner
	}
	if c.StaleAfter <= 0 {
		c.StaleAfter = defaultStaleAfter
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

type endpoint struct{ network, address string }

func (e endpoint) String() string { return e.network + ":" + e.address }

func parseEndpoints(s string) ([]endpoint, error) {
	var out []endpoint
	for one := range strings.SplitSeq(s, ",") {
		e, err := parseEndpoint(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func parseEndpoint(s string) (endpoint, error) {
	network, address, _ := strings.Cut(s, ":")
	switch network {
	case "unix":
		if strings.HasPrefix(address, "/") {
			return endpoint{network, address}, nil
		}
	case "tcp":
		host, port, err := net.SplitHostPort(address)
		if n, convErr := strconv.ParseUint(port, 10, 16); err == nil && convErr == nil && n > 0 && host != "" {
			return endpoint{network, address}, nil
		}
	}
	return endpoint{}, fmt.Errorf("OVSDB endpoint %q: want unix:/absolute/path or tcp:host:port", s)
}
