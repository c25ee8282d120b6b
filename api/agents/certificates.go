package agents

import (
	"net/http"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/trust"
)

// certificates tells agents of one kind by their certificates. An agent of the other kind is known and may do nothing.
type certificates struct {
	authority *trust.Authority
	kind      string // "" for either
}

// Authenticate implements rest.Authenticator: Subject.User is the agent's name, and UserID that of its identity.
func (c certificates) Authenticate(r *http.Request) (*rest.Subject, error) {
	id, err := c.authority.Identify(r.Context(), r.TLS)
	if err != nil {
		return nil, err
	}
	if c.kind != "" && id.Kind != c.kind {
		return nil, fault.New(fault.Forbidden, "The agent of %s may not speak for a %s.", id.Agent, c.kind)
	}
	return &rest.Subject{User: id.Name, UserID: id.UUID}, nil
}

// Refuse implements rest.Authenticator. A client certificate has no scheme of HTTP authentication that could be asked for.
func (c certificates) Refuse(_ http.Header, text string) (contentType string, body []byte) {
	return "application/json", encode(wire.Error{Error: text})
}

// stranger makes the answer 401 of an error that says so; within a handler it would be taken for somebody else's refusal.
func stranger(err error) error {
	if fault.Is(err, fault.Unauthorized) {
		return &rest.Failure{Status: http.StatusUnauthorized, Text: err.Error(), Err: err}
	}
	return err
}

func (a *api) mountJoin(mux *http.ServeMux) {
	if a.o.Trust == nil {
		return
	}
	mux.Handle("/agents/v1/join", rest.New(a.table(nil, []rest.Route{
		{Method: "POST", Pattern: "/agents/v1/join", Policy: "agents:join", Handler: a.join},
	})))
	mux.Handle("/agents/v1/renew", rest.New(a.table(certificates{a.o.Trust, ""}, []rest.Route{
		{Method: "POST", Pattern: "/agents/v1/renew", Policy: "agents:renew", Handler: a.renew},
	})))
}

func (a *api) join(r *rest.Request) (*rest.Response, error) {
	var j wire.Join
	if err := r.Decode(&j); err != nil {
		return nil, err
	}
	joined, err := a.o.Trust.Join(r.Context(), &j)
	if err != nil {
		return nil, stranger(err)
	}
	return rest.OK(encode(joined)), nil
}

func (a *api) renew(r *rest.Request) (*rest.Response, error) {
	var j wire.Join
	if err := r.Decode(&j); err != nil {
		return nil, err
	}
	id, err := a.o.Trust.Identify(r.Context(), r.TLS)
	if err != nil {
		return nil, stranger(err)
	}
	joined, err := a.o.Trust.Renew(r.Context(), id, &j)
	if err != nil {
		return nil, stranger(err)
	}
	return rest.OK(encode(joined)), nil
}
