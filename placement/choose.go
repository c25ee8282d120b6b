package placement

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/riser-project/riser/store"
)

// search finds hosts for a request, the best first: those of the PF with the most free functions; for a request without ports, those with the
// fewest servers of a page. It reads as far as it is asked for, and so it takes the same time in a fleet of any size as long as hosts are found.
//
// The first host comes unchecked, since a claim checks its host again anyway. When that was in vain, the filters are asked before a host is tried.
type search struct {
	db *store.DB
	r  *Request

	queue []string
	seen  map[string]bool
	begun bool
	ended bool
	after *store.Candidate // the last PF that was read
	name  string           // the last host that was read, for a request without ports
}

// Sizes of pages.
const (
	alike   = 8  // PFs among which the first host is chosen
	perPage = 64 // PFs or hosts
)

// next returns the next host, or nothing when there are no more.
func (s *search) next(ctx context.Context) (string, error) {
	for {
		if len(s.queue) > 0 {
			host := s.queue[0]
			s.queue = s.queue[1:]
			return host, nil
		}
		if s.ended {
			return "", nil
		}
		if err := s.db.Read(ctx, func(tx *store.Tx) error { return s.page(ctx, tx) }); err != nil {
			return "", err
		}
	}
}

func (s *search) page(ctx context.Context, tx *store.Tx) error {
	first := !s.begun
	s.begun = true
	switch {
	case s.r.Host != "":
		s.queue, s.ended = []string{s.r.Host}, true
		return nil
	case len(s.r.Ports) == 0:
		return s.byName(ctx, tx)
	case first:
		return s.first(ctx, tx)
	}
	return s.byFree(ctx, tx)
}

// query returns what PFs are looked for. Any port will do, since a host has to satisfy all; one that names its card or uplink says most.
func (s *search) query() store.CandidateQuery {
	port := &s.r.Ports[0]
	for i := range s.r.Ports {
		if p := &s.r.Ports[i]; p.Card != "" || p.PF != "" {
			port = p
		}
	}
	return store.CandidateQuery{PhysicalNetwork: port.PhysicalNetwork, Serial: port.Card, Uplink: port.PF, Whole: port.Whole, After: s.after, Limit: perPage}
}

// first takes one of the best hosts. Among equals it is any of them, so that requests which come together do not queue for one host.
func (s *search) first(ctx context.Context, tx *store.Tx) error {
	q := s.query()
	q.Limit = alike
	list, err := tx.Candidates(ctx, q)
	list = slices.DeleteFunc(list, func(c store.Candidate) bool { return slices.Contains(s.r.Avoid, c.Host) })
	if err != nil || len(list) == 0 {
		return err
	}
	best := list[0].Free
	list = slices.DeleteFunc(list, func(c store.Candidate) bool { return c.Free < best })
	host := list[rand.IntN(len(list))].Host //nolint:gosec // which of equal hosts is no secret
	s.seen = map[string]bool{host: true}
	s.queue = []string{host}
	return nil
}

// byFree reads the next page of PFs and keeps the hosts that pass the filters.
func (s *search) byFree(ctx context.Context, tx *store.Tx) error {
	list, err := tx.Candidates(ctx, s.query())
	if err != nil {
		return err
	}
	s.ended = len(list) < perPage
	var names []string
	for i := range list {
		s.after = &list[i]
		if host := list[i].Host; !s.seen[host] {
			if s.seen == nil {
				s.seen = map[string]bool{}
			}
			s.seen[host] = true
			names = append(names, host)
		}
	}
	if len(names) == 0 {
		return nil
	}
	views, err := load(ctx, tx, store.HostQuery{Names: names})
	s.keep(views, func(a, b *hostView) int { return slices.Index(names, a.Name) - slices.Index(names, b.Name) })
	return err
}

// byName reads the next page of hosts, for a request that needs no function.
func (s *search) byName(ctx context.Context, tx *store.Tx) error {
	views, err := load(ctx, tx, store.HostQuery{After: s.name, Limit: perPage})
	if err != nil {
		return err
	}
	if s.ended = len(views) < perPage; len(views) > 0 {
		s.name = views[len(views)-1].Name
	}
	s.keep(views, func(a, b *hostView) int { return a.Load.Servers - b.Load.Servers })
	return nil
}

// keep queues the hosts that pass the filters, in the order of compare.
func (s *search) keep(views []*hostView, compare func(a, b *hostView) int) {
	slices.SortStableFunc(views, compare)
	for _, v := range views {
		if _, refusal := check(s.r, v); refusal.Filter == "" {
			s.queue = append(s.queue, v.Name)
		}
	}
}

// Choose returns up to n hosts that can take the request now, the best first.
func (p *Placer) Choose(ctx context.Context, r Request, n int) ([]string, error) {
	s := search{db: p.db, r: &r, begun: true}
	var hosts []string
	for len(hosts) < n {
		host, err := s.next(ctx)
		if err != nil || host == "" {
			return hosts, err
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}
