package compute

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/instance"
	"github.com/riser-project/riser/store"
)

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// server returns a server that the subject may see.
func (a *api) server(r *rest.Request, tx *store.Tx) (*store.Server, error) {
	s, err := tx.Server(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if p := scope(r); p != "" && p != s.Project {
		return nil, store.ServerNotFound(s.UUID)
	}
	return s, nil
}

// visible returns an error unless the subject may see the path's server.
func (a *api) visible(r *rest.Request) error {
	return a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		_, err := a.server(r, tx)
		return err
	})
}

// listed reads the servers that the query selects.
func (a *api) listed(r *rest.Request, each func(tx *store.Tx, s *store.Server) error) (next string, err error) {
	q := r.Query()
	query := store.ServerQuery{Project: scope(r), Host: q.Get("host"), Marker: q.Get("marker")}
	limit, err := limitOf(r)
	if err != nil {
		return "", err
	}
	var name *regexp.Regexp
	if text := q.Get("name"); text != "" {
		if name, err = regexp.Compile(text); err != nil {
			return "", invalid("Invalid filter name: %q is not a regular expression", text)
		}
	}
	wanted := strings.ToUpper(q.Get("status"))
	err = a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		list, err := tx.Servers(r.Context(), query)
		if fault.Is(err, fault.NotFound) {
			return invalid("marker [%s] not found", query.Marker)
		}
		if err != nil {
			return err
		}
		shown := 0
		for i, s := range list {
			if name != nil && !name.MatchString(s.Name) || wanted != "" && status(s) != wanted || !hasAddress(q.Get("uuid"), s) {
				continue
			}
			if err := each(tx, s); err != nil {
				return err
			}
			if shown++; shown == limit && i+1 < len(list) {
				next = s.UUID
				return nil
			}
		}
		return nil
	})
	return next, err
}

// limitOf returns how many a list is to have; 0 is no limit.
func limitOf(r *rest.Request) (int, error) {
	text := r.Query().Get("limit")
	if text == "" {
		return 0, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 0 {
		return 0, invalid("limit %q is not a number, 0 or more", text)
	}
	return limit, nil
}

func hasAddress(uuid string, s *store.Server) bool { return uuid == "" || uuid == s.UUID }

// page adds the link to the next page.
func page(r *rest.Request, body map[string]any, next string) *rest.Response {
	if next != "" {
		q := r.Query()
		q.Set("marker", next)
		body["servers_links"] = []any{map[string]any{"rel": "next", "href": r.Endpoint() + r.URL.Path + "?" + q.Encode()}}
	}
	return rest.OK(rest.AppendValue(nil, body))
}

func (a *api) listServers(r *rest.Request) (*rest.Response, error) {
	list := []any{}
	next, err := a.listed(r, func(_ *store.Tx, s *store.Server) error {
		list = append(list, map[string]any{"id": s.UUID, "name": s.Name, "links": links(r, "servers", s.UUID)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return page(r, map[string]any{"servers": list}, next), nil
}

func (a *api) detailServers(r *rest.Request) (*rest.Response, error) {
	list := []any{}
	next, err := a.listed(r, func(tx *store.Tx, s *store.Server) error {
		v, err := a.view(r.Context(), tx, r, s)
		list = append(list, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page(r, map[string]any{"servers": list}, next), nil
}

func (a *api) showServer(r *rest.Request) (*rest.Response, error) {
	var v map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		s, err := a.server(r, tx)
		if err != nil {
			return err
		}
		v, err = a.view(r.Context(), tx, r, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("server", v)), nil
}

// createBody is the body of a request for a server.
type createBody struct {
	Server struct {
		Name        string            `json:"name"`
		Description string            `json:"description"`
		FlavorRef   json.RawMessage   `json:"flavorRef"`
		ImageRef    string            `json:"imageRef"`
		Metadata    map[string]string `json:"metadata"`
		Networks    json.RawMessage   `json:"networks"`
		Zone        string            `json:"availability_zone"`
		Host        string            `json:"host"`
		Hypervisor  string            `json:"hypervisor_hostname"`
		MinCount    json.RawMessage   `json:"min_count"`
		MaxCount    json.RawMessage   `json:"max_count"`
	} `json:"server"`
	Hints map[string]any `json:"os:scheduler_hints"`
	Older map[string]any `json:"OS-SCH-HNT:scheduler_hints"`
}

func (a *api) createServer(r *rest.Request) (*rest.Response, error) {
	var b createBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	spec, err := specOf(r, &b)
	if err != nil {
		return nil, err
	}
	s, err := a.o.Runner.Create(r.Context(), spec)
	if err != nil {
		return nil, err
	}
	return &rest.Response{
		Status: http.StatusAccepted, Location: r.Endpoint() + root + "/servers/" + s.UUID,
		Body: object("server", map[string]any{
			"id": s.UUID, "links": links(r, "servers", s.UUID), "OS-DCF:diskConfig": "MANUAL", "security_groups": []any{},
		}),
	}, nil
}

// maxName is the length of the longest name (Compute API, servers).
const maxName = 255

func specOf(r *rest.Request, b *createBody) (instance.Spec, error) {
	in := &b.Server
	spec := instance.Spec{
		Name: strings.TrimSpace(in.Name), Description: in.Description, Project: r.Subject.Project, User: r.Subject.UserID, Image: in.ImageRef,
		Metadata: in.Metadata, Hints: b.Hints, Host: in.Host,
	}
	if spec.Hints == nil {
		spec.Hints = b.Older
	}
	if spec.Name == "" || len(spec.Name) > maxName {
		return spec, invalid("Invalid input for field/attribute name. Value: %s. It must have 1 to %d characters.", in.Name, maxName)
	}
	spec.Flavor = strings.Trim(string(in.FlavorRef), `"`)
	if spec.Flavor == "" {
		return spec, invalid("Invalid input for field/attribute server. 'flavorRef' is a required property")
	}
	for _, count := range []json.RawMessage{in.MinCount, in.MaxCount} {
		if text := strings.Trim(string(count), `"`); text != "" && text != "1" && text != "null" {
			return spec, invalid("Servers are made one by one: min_count and max_count must be 1.")
		}
	}
	if (in.Host != "" || in.Hypervisor != "") && r.Version < vRequestHost {
		return spec, invalid("Additional properties are not allowed ('host' was unexpected)")
	}
	if spec.Host == "" {
		spec.Host = in.Hypervisor
	}
	if name, host, ok := strings.Cut(in.Zone, ":"); in.Zone != "" && name != zone {
		return spec, invalid("The requested availability zone is not available")
	} else if ok {
		spec.Host, _, _ = strings.Cut(host, ":")
	}
	var err error
	spec.Ports, err = networksOf(r, in.Networks)
	return spec, err
}

// networksOf reads the networks of a new server.
func networksOf(r *rest.Request, raw json.RawMessage) ([]instance.Attachment, error) {
	text := string(raw)
	switch {
	case text == "" && r.Version >= vNetworks:
		return nil, invalid("Invalid input for field/attribute server. 'networks' is a required property")
	case text == "", text == "null", text == `"none"`:
		return nil, nil
	case text == `"auto"`:
		return nil, invalid("Networks cannot be allocated automatically here: name a port.")
	}
	var list []struct {
		Port string `json:"port"`
		UUID string `json:"uuid"`
		IP   string `json:"fixed_ip"`
		Tag  string `json:"tag"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, invalid("Invalid input for field/attribute networks: want a list of objects, each with a port.")
	}
	var ports []instance.Attachment
	for _, n := range list {
		if n.Port == "" && n.UUID == "" {
			return nil, invalid("Invalid input for field/attribute networks: each needs a port.")
		}
		if slices.ContainsFunc(ports, func(a instance.Attachment) bool { return n.Port != "" && a.Port == n.Port }) {
			return nil, invalid("Port ID %s was specified twice: it may be used only once.", n.Port)
		}
		ports = append(ports, instance.Attachment{Port: n.Port, Network: n.UUID, Address: n.IP, Tag: n.Tag})
	}
	return ports, nil
}

func (a *api) updateServer(r *rest.Request) (*rest.Response, error) {
	var b struct {
		Server struct {
			Name        *string `json:"name"`
			Description *string `json:"description"`
		} `json:"server"`
	}
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	var v map[string]any
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		s, err := a.server(r, tx)
		if err != nil {
			return err
		}
		if name := b.Server.Name; name != nil {
			if s.Name = strings.TrimSpace(*name); s.Name == "" || len(s.Name) > maxName {
				return invalid("Invalid input for field/attribute name. Value: %s. It must have 1 to %d characters.", *name, maxName)
			}
		}
		if b.Server.Description != nil {
			s.Description = *b.Server.Description
		}
		if err := tx.SaveServer(r.Context(), s); err != nil {
			return err
		}
		v, err = a.view(r.Context(), tx, r, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("server", v)), nil
}

func (a *api) deleteServer(r *rest.Request) (*rest.Response, error) {
	if err := a.visible(r); err != nil {
		return nil, err
	}
	if err := a.o.Runner.Delete(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

func (a *api) explainServer(r *rest.Request) (*rest.Response, error) {
	if err := a.visible(r); err != nil {
		return nil, err
	}
	list, err := a.o.Runner.Explain(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object("hosts", list)), nil
}
