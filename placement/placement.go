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

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// TraitRemoteManaged is the trait of hosts that can attach functions whose representor is on the card's own Linux.
const TraitRemoteManaged = "COMPUTE_REMOTE_MANAGED_PORTS"

// MinService is the version of the agents' protocol from which on hosts know remote-managed ports.
const MinService = 1

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
type Placer struct {
	db *store.DB
	w  writer
}

// New returns a Placer on db.
func New(db *store.DB) *Placer { return &Placer{db: db, w: writer{db: db}} }

// Then is what else belongs into the transaction of claims: nothing is claimed when it fails. It runs again when the transaction has to, and
// only its last run counts. It must not change hosts, their cards, or nodes.
type Then func(tx *store.Tx, host string, claims []*store.Claim) error

// Place chooses a host and claims what the request needs there, in one transaction with then, if that is given. When the request has been placed
// before, it gets the same host and the same claims.
//
// The error is fault.Conflict when no host can take the request; it says why for the first few.
func (p *Placer) Place(ctx context.Context, r Request, then Then) (string, []*store.Claim, error) {
	s := search{db: p.db, r: &r}
	for {
		host, err := s.next(ctx)
		if err == nil && host == "" {
			if host, err = p.before(ctx, &r); err == nil && host == "" {
				err = p.noHost(ctx, r)
			}
		}
		if err != nil {
			return "", nil, err
		}
		host, claims, err := p.claim(ctx, &r, host, then)
		if errors.Is(err, errTaken) {
			continue // somebody was faster, or a filter is against it: the next host
		}
		return host, claims, err
	}
}

// errTaken is the cause of a claim's error when the host does not fit, or not any more.
var errTaken = errors.New("the host does not fit")

func taken(host, reason string) error {
	return &fault.Error{Kind: fault.Conflict, Text: fmt.Sprintf("host %s cannot take the server: %s", host, reason), Err: errTaken}
}

// claim takes what the request needs on the host, or returns what it took before, wherever that was.
func (p *Placer) claim(ctx context.Context, r *Request, host string, then Then) (string, []*store.Claim, error) {
	var claims []*store.Claim
	at := host
	err := p.w.do(ctx, func(tx *store.Tx, b *batch) error {
		var err error
		if claims, err = b.claim(ctx, tx, *r, host); err != nil {
			return err
		}
		if at = host; len(claims) > 0 {
			at = claims[0].Host
		}
		if then == nil {
			return nil
		}
		return then(tx, at, claims)
	})
	if err != nil {
		return "", nil, err
	}
	return at, claims, nil
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
	return newBatch().claim(ctx, tx, r, host)
}

// Release gives back a claim for which nothing was ordered yet; a claim that is not there is released already. The error is fault.Conflict when
// something was ordered: the function is free only after the card has confirmed that it is unplugged.
func (p *Placer) Release(ctx context.Context, claim string) error {
	return p.w.do(ctx, func(tx *store.Tx, b *batch) error { return b.release(ctx, tx, claim) })
}

// had returns the claims that the request made before, and the indices of the ports without one.
func (r *Request) had(ctx context.Context, tx *store.Tx) (claims []*store.Claim, missing []int, err error) {
	claims = make([]*store.Claim, len(r.Ports))
	r.held = nil
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
