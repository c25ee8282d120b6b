// Package placement chooses the host of a server and claims the functions of cards that its ports need.
//
// Choosing reads one state of the store and filters hosts by a list of small functions, each of which can say why it takes a host out. Claiming
// checks the chosen host again and takes the functions in one transaction, so that nothing is counted optimistically and no claim is
// lost later. The same request claims once, however often it is made.
package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// TraitRemoteManaged is the trait of hosts that can attach functions whose representor is on the card's own Linux.
const TraitRemoteManaged = "COMPUTE_REMOTE_MANAGED_PORTS"

// NUMA policies of a request or a port.
const (
	NUMARequired  = "required"  // the function is on the server's NUMA node
	NUMASocket    = "socket"    // on the same socket; without knowledge of sockets the same node
	NUMALegacy    = "legacy"    // on the server's NUMA node, or on a node that is not known
	NUMAPreferred = "preferred" // on the server's NUMA node if that can be had
)

// Card policies of a request.
const (
	CardAffinity     = "affinity"      // all ports on one card
	CardAntiAffinity = "anti-affinity" // no two ports on one card
)

// Request asks for a host, and for functions on it.
type Request struct {
	Key      string // the same key never claims twice; empty means Server
	Server   string // UUID
	VCPUs    int
	MemoryMB int
	Ports    []Port

	Host       string   // the host to take; empty leaves the choice
	Avoid      []string // hosts not to take
	CardPolicy string   // CardAffinity, CardAntiAffinity, or empty
	NUMANode   int      // of the server; -1 is none
	NUMAPolicy string   // for ports that have none; empty is NUMALegacy

	held []string // serials of the cards on which the request has claims already
}

// Port is a port that needs a function.
type Port struct {
	ID              string
	PhysicalNetwork string // of its network; empty for an overlay
	Card            string // the serial of the card to take; empty leaves the choice
	PF              string // the address of the PF to take, or its netdev; empty leaves the choice
	NUMAPolicy      string
	Whole           bool // the PF as a whole, not a VF
}

func (r *Request) claimKey(port string) string {
	if r.Key != "" {
		return r.Key + "/" + port
	}
	return r.Server + "/" + port
}

// Placer chooses hosts and claims functions. It is safe for concurrent use.
type Placer struct{ db *store.DB }

// New returns a Placer on db.
func New(db *store.DB) *Placer { return &Placer{db} }

// Refusal says why a host was not taken.
type Refusal struct {
	Host    string   `json:"host"`
	Filter  string   `json:"filter"`            // the name of the filter that took it out; empty for a host that could be taken
	Reason  string   `json:"reason"`            // for people
	Details []string `json:"details,omitempty"` // why each of its functions does not do
}

func (r Refusal) text() string {
	if len(r.Details) == 0 {
		return r.Reason
	}
	return r.Reason + " (" + strings.Join(r.Details, "; ") + ")"
}

// Explain returns for every host whether it could be taken, and if not why, in the order of their names.
func (p *Placer) Explain(ctx context.Context, r Request) ([]Refusal, error) {
	hosts, err := p.hosts(ctx, r.Host)
	if err != nil {
		return nil, err
	}
	list := make([]Refusal, 0, len(hosts))
	for _, h := range hosts {
		_, refusal := check(&r, h)
		list = append(list, refusal)
	}
	return list, nil
}

// Choose returns the hosts that can take the request, the best first: those with the most free functions on the cards to be used, then those
// with the fewest servers.
func (p *Placer) Choose(ctx context.Context, r Request) ([]string, error) {
	hosts, err := p.hosts(ctx, r.Host)
	if err != nil {
		return nil, err
	}
	type candidate struct {
		name          string
		free, servers int
	}
	var fit []candidate
	for _, h := range hosts {
		plan, refusal := check(&r, h)
		if refusal.Filter != "" {
			continue
		}
		c := candidate{name: h.Name, servers: h.Load.Servers}
		for _, pf := range plan {
			c.free += pf.free()
		}
		fit = append(fit, c)
	}
	slices.SortStableFunc(fit, func(a, b candidate) int {
		if a.free != b.free {
			return b.free - a.free
		}
		return a.servers - b.servers
	})
	names := make([]string, len(fit))
	for i, c := range fit {
		names[i] = c.name
	}
	return names, nil
}

// Place chooses a host and claims what the request needs there. then, if given, runs in the transaction of the claims; nothing is claimed when
// it fails. When the request has been placed before, it gets the same host and the same claims.
//
// The error is fault.Conflict when no host can take the request; it says why for each, or for the first few.
func (p *Placer) Place(ctx context.Context, r Request, then func(tx *store.Tx, host string, claims []*store.Claim) error) (string, []*store.Claim, error) {
	before, err := p.before(ctx, &r)
	if err != nil {
		return "", nil, err
	}
	hosts := []string{before}
	if before == "" {
		if hosts, err = p.Choose(ctx, r); err != nil {
			return "", nil, err
		}
	}
	for _, host := range hosts {
		claims, err := p.claim(ctx, &r, host, then)
		if errors.Is(err, errTaken) {
			continue // somebody was faster: the next host
		}
		return host, claims, err
	}
	return "", nil, p.noHost(ctx, r)
}

// errTaken is the cause of a claim's error when the host does not fit, or not any more.
var errTaken = errors.New("the host does not fit")

func taken(host, reason string) error {
	return &fault.Error{Kind: fault.Conflict, Text: fmt.Sprintf("host %s cannot take the server: %s", host, reason), Err: errTaken}
}

func (p *Placer) claim(ctx context.Context, r *Request, host string, then func(*store.Tx, string, []*store.Claim) error) ([]*store.Claim, error) {
	var claims []*store.Claim
	err := p.db.Write(ctx, func(tx *store.Tx) error {
		var err error
		if claims, err = p.Claim(ctx, tx, *r, host); err != nil || then == nil {
			return err
		}
		return then(tx, host, claims)
	})
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// before returns the host on which the request was placed already, or nothing.
func (p *Placer) before(ctx context.Context, r *Request) (string, error) {
	if len(r.Ports) == 0 {
		return "", nil
	}
	var host string
	err := p.db.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Claims(ctx, store.ClaimQuery{Key: r.claimKey(r.Ports[0].ID)})
		if len(list) > 0 {
			host = list[0].Host
		}
		return err
	})
	return host, err
}

// Claim takes the functions that the request needs on the host, within tx, in the order of the request's ports. Claims that the request made
// before are returned as they are. The error is fault.Conflict when the host cannot take the request.
func (p *Placer) Claim(ctx context.Context, tx *store.Tx, r Request, host string) ([]*store.Claim, error) {
	claims, missing, err := r.had(ctx, tx)
	if err != nil || len(missing) == 0 && len(claims) > 0 {
		return claims, err
	}
	// The row of the host is held, so that its capacity is counted by one claimant at a time.
	hosts, err := load(ctx, tx, store.HostQuery{Names: []string{host}, Lock: true})
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		return nil, store.HostNotFound(host)
	}
	ports := r.Ports
	r.Host, r.Ports = host, make([]Port, len(missing))
	for i, at := range missing {
		r.Ports[i] = ports[at]
	}
	plan, refusal := check(&r, hosts[0])
	if refusal.Filter != "" {
		return nil, taken(host, refusal.text())
	}
	for i, port := range r.Ports {
		c := &store.Claim{UUID: uuid.NewString(), Key: r.claimKey(port.ID), Port: port.ID, Server: r.Server, VF: store.AnyVF}
		if port.Whole {
			c.VF = store.WholePF
		}
		if err := tx.ClaimOn(ctx, plan[i].HostPF, c); err != nil {
			if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
				return nil, taken(host, err.Error())
			}
			return nil, err
		}
		claims[missing[i]] = c
	}
	return claims, nil
}

// had returns the claims that the request made before, and the indices of the ports without one.
func (r *Request) had(ctx context.Context, tx *store.Tx) (claims []*store.Claim, missing []int, err error) {
	claims = make([]*store.Claim, len(r.Ports))
	for i, port := range r.Ports {
		list, err := tx.Claims(ctx, store.ClaimQuery{Key: r.claimKey(port.ID)})
		if err != nil {
			return nil, nil, err
		}
		if len(list) == 0 {
			missing = append(missing, i)
			continue
		}
		claims[i] = list[0]
		r.held = append(r.held, list[0].Card)
	}
	return claims, missing, nil
}

// shownRefusals bounds the reasons in the text of an error.
const shownRefusals = 5

func (p *Placer) noHost(ctx context.Context, r Request) error {
	list, err := p.Explain(ctx, r)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		if r.Host != "" {
			return store.HostNotFound(r.Host)
		}
		return fault.New(fault.Conflict, "No valid host was found. No host has reported.")
	}
	texts := make([]string, 0, shownRefusals+1)
	for i, refusal := range list {
		if i == shownRefusals {
			texts = append(texts, fmt.Sprintf("and %d more", len(list)-i))
			break
		}
		texts = append(texts, refusal.Host+": "+refusal.text())
	}
	return fault.New(fault.Conflict, "No valid host was found. %s", strings.Join(texts, "; "))
}

// Outdated returns the hosts whose agents speak a version of the protocol below version.
func (p *Placer) Outdated(ctx context.Context, version int) ([]string, error) {
	var names []string
	err := p.db.Read(ctx, func(tx *store.Tx) error {
		hosts, err := tx.Hosts(ctx, store.HostQuery{})
		for _, h := range hosts {
			if h.Service < version {
				names = append(names, h.Name)
			}
		}
		return err
	})
	return names, err
}
