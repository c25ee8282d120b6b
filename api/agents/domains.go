package agents

import (
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt/remote"
)

// domainRoutes are the calls of the agents that run domains.
func (a *api) domainRoutes() []rest.Route {
	return []rest.Route{
		{Method: "GET", Pattern: "/agents/v1/hosts/{host}/domains", Policy: "agents:host", Query: []string{"after", "wait"}, Handler: a.domains},
		{Method: "POST", Pattern: "/agents/v1/hosts/{host}/domains/status", Policy: "agents:host", MaxBody: maxReport, Handler: a.domainStatus},
	}
}

// domains answers with what a host is to do that is newer than a revision: at once when there is something, else as soon as there is, or with nothing when
// wait is over.
func (a *api) domains(r *rest.Request) (*rest.Response, error) {
	host, err := own(r, "host")
	if err != nil {
		return nil, err
	}
	after, wait, err := pollOf(r)
	if err != nil {
		return nil, err
	}
	woken, cancel := a.o.DB.Subscribe(store.TopicDomains(host))
	defer cancel()
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		list, err := remote.Domains(r.Context(), a.o.DB, host, after)
		if err != nil {
			return nil, err
		}
		if len(list.Domains) > 0 || wait == 0 {
			return rest.OK(encode(list)), nil
		}
		select {
		case <-woken:
		case <-over.C:
			wait = 0
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// domainStatus takes what a host says of its domains.
func (a *api) domainStatus(r *rest.Request) (*rest.Response, error) {
	host, err := own(r, "host")
	if err != nil {
		return nil, err
	}
	var report wire.DomainReport
	if err := r.Decode(&report); err != nil {
		return nil, err
	}
	if err := remote.Report(r.Context(), a.o.DB, host, report.Domains); err != nil {
		return nil, err
	}
	return rest.OK(encode(a.o.Enrol.Reply())), nil
}
