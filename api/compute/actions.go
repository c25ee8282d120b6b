package compute

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/store"
)

// action carries out one action of a server, whose arguments are the value of its key in the body.
type action func(a *api, r *rest.Request, id string, args json.RawMessage) (*rest.Response, error)

// actions are the actions of a server, by the key of the body.
var actions = map[string]action{
	"os-start":      command("start"),
	"os-stop":       command("stop"),
	"reboot":        reboot,
	"migrate":       migrate,
	"confirmResize": confirmResize,
	"revertResize":  revertResize,
	"evacuate":      evacuate,
	"rebuild":       rebuild,
}

func (a *api) act(r *rest.Request) (*rest.Response, error) {
	if err := a.visible(r); err != nil {
		return nil, err
	}
	var b map[string]json.RawMessage
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	if len(b) != 1 {
		return nil, invalid("There is no such action: want exactly one.")
	}
	for key, args := range b {
		if do := actions[key]; do != nil {
			return do(a, r, r.PathValue("id"), args)
		}
		return nil, invalid("There is no such action: %s", key)
	}
	return nil, nil
}

func accepted(err error) (*rest.Response, error) {
	if err != nil {
		return nil, err
	}
	return rest.Accepted(""), nil
}

func command(verb string) action {
	return func(a *api, r *rest.Request, id string, _ json.RawMessage) (*rest.Response, error) {
		return accepted(a.o.Runner.Command(r.Context(), id, verb))
	}
}

func reboot(a *api, r *rest.Request, id string, args json.RawMessage) (*rest.Response, error) {
	var in struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(args, &in); err != nil || !slices.Contains([]string{"SOFT", "HARD"}, strings.ToUpper(in.Type)) {
		return nil, invalid("Invalid input for field/attribute reboot: type must be SOFT or HARD.")
	}
	return accepted(a.o.Runner.Command(r.Context(), id, "reboot"))
}

// hostOf reads the host of a move, which may be left out.
func hostOf(name string, args json.RawMessage) (string, error) {
	var in struct {
		Host string `json:"host"`
	}
	if err := json.Unmarshal(args, &in); err != nil {
		return "", invalid("Invalid input for field/attribute %s: want null or an object with a host.", name)
	}
	return in.Host, nil
}

func migrate(a *api, r *rest.Request, id string, args json.RawMessage) (*rest.Response, error) {
	host, err := hostOf("migrate", args)
	if err != nil {
		return nil, err
	}
	if host != "" && r.Version < vMigrateHost {
		return nil, invalid("Additional properties are not allowed ('host' was unexpected)")
	}
	return accepted(a.o.Runner.Migrate(r.Context(), id, host))
}

func confirmResize(a *api, r *rest.Request, id string, _ json.RawMessage) (*rest.Response, error) {
	if err := a.o.Runner.Confirm(r.Context(), id); err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

func revertResize(a *api, r *rest.Request, id string, _ json.RawMessage) (*rest.Response, error) {
	return accepted(a.o.Runner.Revert(r.Context(), id))
}

func evacuate(a *api, r *rest.Request, id string, args json.RawMessage) (*rest.Response, error) {
	host, err := hostOf("evacuate", args)
	if err == nil {
		err = a.o.Runner.Evacuate(r.Context(), id, host)
	}
	if err != nil {
		return nil, err
	}
	if r.Version < vEvacuateBare {
		return rest.OK([]byte(`{"adminPass":""}`)), nil
	}
	return &rest.Response{Status: http.StatusOK}, nil
}

func rebuild(a *api, r *rest.Request, id string, args json.RawMessage) (*rest.Response, error) {
	var in struct {
		Image string `json:"imageRef"`
	}
	if err := json.Unmarshal(args, &in); err != nil || in.Image == "" {
		return nil, invalid("Invalid input for field/attribute rebuild. 'imageRef' is a required property")
	}
	if err := a.o.Runner.Rebuild(r.Context(), id, in.Image); err != nil {
		return nil, err
	}
	var v map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		s, err := a.server(r, tx)
		if err == nil {
			v, err = a.view(r.Context(), tx, r, s)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusAccepted, Body: object("server", v)}, nil
}
