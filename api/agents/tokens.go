package agents

import (
	"net/http"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/trust"
)

// tokenView is a join token as operators see it. Token, with the secret, is in the answer that makes it and never again.
type tokenView struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	Token     string    `json:"token,omitempty"`
	IssuedBy  string    `json:"issued_by,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
	CreatedAt time.Time `json:"created_at"`
}

func viewToken(t *store.JoinToken) tokenView {
	return tokenView{ID: t.Name, Kind: t.Kind, Name: t.Agent, IssuedBy: t.IssuedBy, ExpiresAt: t.ExpiresAt, CreatedAt: t.CreatedAt}
}

func (a *api) createToken(r *rest.Request) (*rest.Response, error) {
	var body struct {
		Kind      string  `json:"kind"`
		Name      string  `json:"name"`
		ExpiresIn float64 `json:"expires_in"` // seconds
	}
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.ExpiresIn < 0 || body.ExpiresIn > trust.MaxTokenLife.Seconds() {
		return nil, fault.New(fault.Invalid, "expires_in: a join token lives at most %d s", int(trust.MaxTokenLife.Seconds()))
	}
	life := time.Duration(body.ExpiresIn * float64(time.Second))
	token, row, err := a.o.Trust.NewToken(r.Context(), trust.Agent{Kind: body.Kind, Name: body.Name}, life, r.Subject.User)
	if err != nil {
		return nil, err
	}
	v := viewToken(row)
	v.Token = token.Text()
	return &rest.Response{Status: http.StatusCreated, Body: encode(v), Header: http.Header{"Cache-Control": {"no-store"}}}, nil
}

func (a *api) listTokens(r *rest.Request) (*rest.Response, error) {
	views := []tokenView{}
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		list, err := tx.JoinTokens(r.Context(), r.Query().Get("kind"), r.Query().Get("name"))
		for _, t := range list {
			views = append(views, viewToken(t))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(encode(map[string]any{"tokens": views})), nil
}

func (a *api) deleteToken(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		n, err := tx.DeleteJoinTokens(r.Context(), r.PathValue("token"), "", "")
		if err == nil && n == 0 {
			err = fault.New(fault.NotFound, "Join token %s could not be found.", r.PathValue("token"))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// identityView is an agent's identity as operators see it.
type identityView struct {
	UUID      string    `json:"uuid"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Key       string    `json:"key"` // SHA-256 of the key that it joined with
	Reason    string    `json:"reason,omitempty"`
	ExpiresAt time.Time `json:"certificate_expires_at"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func viewIdentity(i *store.Identity) identityView {
	return identityView{
		UUID: i.UUID, Kind: i.Kind, Name: i.Agent, State: string(i.State), Key: i.KeyHash, Reason: i.Reason, ExpiresAt: i.ExpiresAt,
		CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt,
	}
}

func (a *api) listIdentities(r *rest.Request) (*rest.Response, error) {
	q := store.IdentityQuery{Kind: r.Query().Get("kind"), Agent: r.Query().Get("name")}
	for _, s := range r.Query()["state"] {
		q.States = append(q.States, store.IdentityState(s))
	}
	views := []identityView{}
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		list, err := tx.Identities(r.Context(), q)
		for _, i := range list {
			views = append(views, viewIdentity(i))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(encode(map[string]any{"identities": views})), nil
}

// choice is what an operator approves.
type choice struct {
	Key    string `json:"key"`    // beginning of the hash of the key that waits; may be left out when one waits
	System string `json:"system"` // of the reporter to believe, where several report one serial
}

func readChoice(r *rest.Request) (choice, error) {
	var c choice
	if len(r.Body) == 0 {
		return c, nil
	}
	return c, r.Decode(&c)
}

func (a *api) approveHost(r *rest.Request) (*rest.Response, error) {
	c, err := readChoice(r)
	if err != nil {
		return nil, err
	}
	return a.approveKey(r, trust.Agent{Kind: store.HostAgent, Name: r.PathValue("host")}, c.Key)
}

func (a *api) approveDPU(r *rest.Request) (*rest.Response, error) {
	c, err := readChoice(r)
	if err != nil {
		return nil, err
	}
	serial := r.PathValue("serial")
	switch {
	case c.System == "" && a.o.Trust != nil:
		return a.approveKey(r, trust.Agent{Kind: store.DPUAgent, Name: serial}, c.Key)
	case c.System == "":
		return nil, fault.New(fault.Invalid, "system: say which reporter of card %s is right", serial)
	}
	if err := a.o.Enrol.Approve(r.Context(), serial, c.System); err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

func (a *api) approveKey(r *rest.Request, agent trust.Agent, key string) (*rest.Response, error) {
	i, err := a.o.Trust.Approve(r.Context(), agent, key)
	if err != nil {
		return nil, err
	}
	return rest.OK(encode(viewIdentity(i))), nil
}

func (a *api) revoke(r *rest.Request, agent trust.Agent) (*rest.Response, error) {
	var body struct {
		Reason string `json:"reason"`
	}
	if len(r.Body) > 0 {
		if err := r.Decode(&body); err != nil {
			return nil, err
		}
	}
	if body.Reason == "" {
		body.Reason = "an operator revoked it"
	}
	if err := a.o.Trust.Revoke(r.Context(), agent, body.Reason); err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
