package placement

import (
	"context"
	"fmt"
	"strings"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

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

// Explain returns for every host whether it could be taken, and if not why, in the order of their names. For a request that names its host it
// returns that one.
func (p *Placer) Explain(ctx context.Context, r Request) ([]Refusal, error) {
	list := []Refusal{}
	after := ""
	for {
		page, err := p.explain(ctx, &r, after, perPage)
		if err != nil {
			return nil, err
		}
		list = append(list, page...)
		if len(page) < perPage || r.Host != "" {
			return list, nil
		}
		after = page[len(page)-1].Host
	}
}

// explain is Explain for the limit hosts whose names come after one.
func (p *Placer) explain(ctx context.Context, r *Request, after string, limit int) ([]Refusal, error) {
	q := store.HostQuery{After: after, Limit: limit}
	if r.Host != "" {
		q = store.HostQuery{Names: []string{r.Host}}
	}
	var list []Refusal
	err := p.db.Read(ctx, func(tx *store.Tx) error {
		views, err := load(ctx, tx, q)
		for _, v := range views {
			_, refusal := check(r, v)
			list = append(list, refusal)
		}
		return err
	})
	return list, err
}

// shownRefusals bounds the reasons in the text of an error.
const shownRefusals = 5

// noHost returns the error of a request that no host can take.
func (p *Placer) noHost(ctx context.Context, r Request) error {
	list, err := p.explain(ctx, &r, "", shownRefusals+1)
	if err != nil {
		return err
	}
	switch {
	case len(list) == 0 && r.Host != "":
		return store.HostNotFound(r.Host)
	case len(list) == 0:
		return fault.New(fault.Conflict, "No valid host was found. No host has reported.")
	}
	texts := make([]string, 0, len(list))
	for i, refusal := range list {
		if i == shownRefusals {
			texts = append(texts, "and so on")
			break
		}
		texts = append(texts, refusal.Host+": "+refusal.text())
	}
	return fault.New(fault.Conflict, "No valid host was found. %s", strings.Join(texts, "; "))
}

// Outdated returns some hosts whose agents speak a version of the protocol below version; none when the whole fleet is up to date.
func (p *Placer) Outdated(ctx context.Context, version int) ([]string, error) {
	var names []string
	err := p.db.Read(ctx, func(tx *store.Tx) error {
		hosts, err := tx.Hosts(ctx, store.HostQuery{Below: version, Limit: shownRefusals})
		for _, h := range hosts {
			names = append(names, fmt.Sprintf("%s (version %d)", h.Name, h.Service))
		}
		return err
	})
	return names, err
}
