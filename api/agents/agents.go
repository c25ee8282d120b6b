// Package agents serves the API of riser's own agents, /agents/v1, in the words of package wire, and what operators ask about agents.
//
// Hosts, DPUs and operators have separate tables of routes, each with its own way to tell who calls: a host's identity reaches no order of a DPU, a
// DPU sees the orders of its own card only, and an agent is no operator.
package agents

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/trust"
)

// Side is a part of the API that a listener serves.
type Side uint8

// The sides.
const (
	ForAgents    Side = 1 << iota // reports, orders, joining
	ForOperators                  // tokens, approvals, what agents have reported
)

// Options says what the API works on. DB, Enrol and Binding must be set.
type Options struct {
	DB      *store.DB
	Enrol   *enrol.Enroller
	Binding *binding.Binder

	// Serve is what New's handler serves: ForAgents, ForOperators or both. 0 means both. Where agents have a listener of their own, that serves
	// ForAgents and the operators' one ForOperators.
	Serve Side

	// Trust has agents join and gives them certificates. Nil leaves that out: there are no tokens then.
	Trust *trust.Authority

	// HostAuth tells which host a request comes from: Subject.User is the host's name. Nil means the host's certificate by Trust; without Trust it
	// lets everybody speak for every host, so the API must then be reachable from this machine alone.
	HostAuth rest.Authenticator

	// DPUAuth tells which card a request comes from: Subject.User is the card's serial. Nil is as for HostAuth.
	DPUAuth rest.Authenticator

	// Auth tells which operator a request comes from. Nil means rest.Anyone. Operators must be administrators, or of the whole system.
	Auth rest.Authenticator

	// Observe is told of each request after its answer.
	Observe func(method, pattern string, status int, took time.Duration)

	Log *slog.Logger // nil means slog.Default
}

// Prefix is the path under which New's handler serves.
const Prefix = "/agents/v1/"

const (
	maxReport = 4 << 20 // bytes
	maxWait   = time.Minute
)

// New returns the API as a handler of Prefix.
func New(o Options) http.Handler {
	if o.Serve == 0 {
		o.Serve = ForAgents | ForOperators
	}
	if o.Trust != nil && o.HostAuth == nil {
		o.HostAuth = certificates{o.Trust, store.HostAgent}
	}
	if o.Trust != nil && o.DPUAuth == nil {
		o.DPUAuth = certificates{o.Trust, store.DPUAgent}
	}
	a := &api{o}
	mux := http.NewServeMux()
	none := rest.New(a.table(nil, nil))
	mux.Handle("/", none)
	if o.Serve == ForAgents { // or the mux would lead to the folders
		mux.Handle("/agents/v1/hosts", none)
		mux.Handle("/agents/v1/dpus", none)
	}
	if o.Serve&ForAgents != 0 {
		mux.Handle("/agents/v1/hosts/", rest.New(a.table(o.HostAuth, append(a.hostRoutes(), a.domainRoutes()...))))
		mux.Handle("/agents/v1/dpus/", rest.New(a.table(o.DPUAuth, a.dpuRoutes())))
		a.mountJoin(mux)
	}
	if o.Serve&ForOperators != 0 {
		a.mountOperators(mux)
	}
	return mux
}

func (a *api) hostRoutes() []rest.Route {
	return []rest.Route{
		{Method: "POST", Pattern: "/agents/v1/hosts/{host}/report", Policy: "agents:host", MaxBody: maxReport, Handler: a.hostReport},
		{Method: "POST", Pattern: "/agents/v1/hosts/{host}/heartbeat", Policy: "agents:host", Handler: a.hostBeat},
	}
}

func (a *api) dpuRoutes() []rest.Route {
	return []rest.Route{
		{Method: "POST", Pattern: "/agents/v1/dpus/{serial}/report", Policy: "agents:dpu", MaxBody: maxReport, Handler: a.dpuReport},
		{Method: "POST", Pattern: "/agents/v1/dpus/{serial}/heartbeat", Policy: "agents:dpu", Handler: a.dpuBeat},
		{Method: "GET", Pattern: "/agents/v1/dpus/{serial}/orders", Policy: "agents:dpu", Query: []string{"after", "wait"}, Handler: a.orders},
		{Method: "POST", Pattern: "/agents/v1/dpus/{serial}/status", Policy: "agents:dpu", MaxBody: maxReport, Handler: a.status},
	}
}

type api struct{ o Options }

func (a *api) table(auth rest.Authenticator, routes []rest.Route) rest.API {
	return rest.API{Routes: routes, Auth: auth, Observe: a.o.Observe, Log: a.o.Log, Envelope: envelope}
}

func envelope(f *rest.Failure) []byte { return encode(wire.Error{Error: f.Error()}) }

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of package wire can all be written
	}
	return b
}

// own returns the path's value under key, if the caller may speak for it.
func own(r *rest.Request, key string) (string, error) {
	name := r.PathValue(key)
	if !r.Subject.Anonymous && r.Subject.User != name {
		return "", fault.New(fault.Forbidden, "%s %s may not speak for %s", key, r.Subject.User, name)
	}
	return name, nil
}

func (a *api) hostReport(r *rest.Request) (*rest.Response, error) {
	name, err := own(r, "host")
	if err != nil {
		return nil, err
	}
	var report wire.HostReport
	if err := r.Decode(&report); err != nil {
		return nil, err
	}
	return answer(a.o.Enrol.HostReport(r.Context(), name, &report))
}

func (a *api) hostBeat(r *rest.Request) (*rest.Response, error) {
	name, err := own(r, "host")
	if err != nil {
		return nil, err
	}
	var beat wire.Heartbeat
	if err := r.Decode(&beat); err != nil {
		return nil, err
	}
	return answer(a.o.Enrol.HostBeat(r.Context(), name, beat))
}

func (a *api) dpuReport(r *rest.Request) (*rest.Response, error) {
	serial, err := own(r, "serial")
	if err != nil {
		return nil, err
	}
	var report wire.DPUReport
	if err := r.Decode(&report); err != nil {
		return nil, err
	}
	return answer(a.o.Enrol.DPUReport(r.Context(), serial, &report))
}

func (a *api) dpuBeat(r *rest.Request) (*rest.Response, error) {
	serial, err := own(r, "serial")
	if err != nil {
		return nil, err
	}
	var beat wire.Heartbeat
	if err := r.Decode(&beat); err != nil {
		return nil, err
	}
	return answer(a.o.Enrol.DPUBeat(r.Context(), serial, beat))
}

func answer(reply wire.Reply, err error) (*rest.Response, error) {
	if err != nil {
		return nil, err
	}
	return rest.OK(encode(reply)), nil
}

// orders answers with the orders after a revision: at once when there are some, else as soon as there are, or without any when wait is over. Who
// waits is asked who they are again before each answer, and as soon as that changes: a card whose identity was revoked hears nothing more.
func (a *api) orders(r *rest.Request) (*rest.Response, error) {
	serial, err := own(r, "serial")
	if err != nil {
		return nil, err
	}
	after, wait, err := pollOf(r)
	if err != nil {
		return nil, err
	}
	woken, cancel := a.o.DB.Subscribe(store.TopicOrders(serial), store.TopicIdentity(r.Subject.UserID))
	defer cancel()
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		orders, err := a.o.Binding.Orders(r.Context(), serial, after)
		if err != nil {
			return nil, err
		}
		if orders.Full || len(orders.Orders) > 0 || wait == 0 {
			return rest.OK(encode(orders)), nil
		}
		select {
		case <-woken:
		case <-over.C:
			wait = 0
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if a.o.DPUAuth == nil {
			continue
		}
		if _, err := a.o.DPUAuth.Authenticate(r.Request); err != nil {
			return nil, stranger(err)
		}
	}
}

func pollOf(r *rest.Request) (after int64, wait time.Duration, err error) {
	if text := r.Query().Get("after"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			return 0, 0, fault.New(fault.Invalid, "after %q is not a revision", text)
		}
	}
	if text := r.Query().Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 {
			return 0, 0, fault.New(fault.Invalid, "wait %q is not a duration, as in 20s", text)
		}
	}
	return after, min(wait, maxWait), nil
}

func (a *api) status(r *rest.Request) (*rest.Response, error) {
	serial, err := own(r, "serial")
	if err != nil {
		return nil, err
	}
	var report wire.StatusReport
	if err := r.Decode(&report); err != nil {
		return nil, err
	}
	if err := a.o.Binding.Report(r.Context(), serial, report.Ports); err != nil {
		return nil, err
	}
	return rest.OK(encode(a.o.Enrol.Reply())), nil
}
