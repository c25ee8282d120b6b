package agents

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/trust"
)

// Operators' part of the API:
//
//	GET    /agents/v1/hosts                    {"hosts": [...]}
//	GET    /agents/v1/hosts/{host}             the host with its cards
//	DELETE /agents/v1/hosts/{host}             forget it
//	GET    /agents/v1/dpus                     {"dpus": [...]}
//	GET    /agents/v1/dpus/{serial}            {"dpus": [...]}: more than one where a serial is ambiguous
//	POST   /agents/v1/dpus/{serial}/reset      the card was reset: nothing is plugged on it
//	POST   /agents/v1/{hosts,dpus}/{name}/approve   {"key": "...", "system": "..."}
//	POST   /agents/v1/{hosts,dpus}/{name}/revoke    {"reason": "..."}
//	GET    /agents/v1/identities               {"identities": [...]}
//	GET    /agents/v1/tokens                   {"tokens": [...]}: those not used yet, without their secrets
//	POST   /agents/v1/tokens                   {"kind": "host" or "dpu", "name": "...", "expires_in": seconds}
//	DELETE /agents/v1/tokens/{token}
func (a *api) mountOperators(mux *http.ServeMux) {
	var routes []rest.Route
	add := func(method, path, policy string, handler rest.Handler) {
		routes = append(routes, rest.Route{
			Method: method, Pattern: "/agents/v1/" + path, Policy: "agents:" + policy, Query: []string{"kind", "name", "state"},
			Handler: func(r *rest.Request) (*rest.Response, error) {
				if err := operator(r); err != nil {
					return nil, err
				}
				return handler(r)
			},
		})
	}
	add("GET", "hosts", "list", a.listHosts)
	add("GET", "hosts/{host}", "show", a.showHost)
	add("DELETE", "hosts/{host}", "delete", a.deleteHost)
	add("GET", "dpus", "list", a.listDPUs)
	add("GET", "dpus/{serial}", "show", a.showDPU)
	add("POST", "dpus/{serial}/reset", "reset", a.reset)
	if a.o.Trust != nil {
		add("GET", "identities", "list", a.listIdentities)
		add("GET", "tokens", "token:list", a.listTokens)
		add("POST", "tokens", "token:create", a.createToken)
		add("DELETE", "tokens/{token}", "token:delete", a.deleteToken)
		add("POST", "hosts/{host}/approve", "approve", a.approveHost)
		add("POST", "hosts/{host}/revoke", "revoke", func(r *rest.Request) (*rest.Response, error) {
			return a.revoke(r, trust.Agent{Kind: store.HostAgent, Name: r.PathValue("host")})
		})
		add("POST", "dpus/{serial}/revoke", "revoke", func(r *rest.Request) (*rest.Response, error) {
			return a.revoke(r, trust.Agent{Kind: store.DPUAgent, Name: r.PathValue("serial")})
		})
	}
	add("POST", "dpus/{serial}/approve", "approve", a.approveDPU)
	handler := rest.New(a.table(a.o.Auth, routes))
	seen := map[string]bool{}
	for _, r := range routes {
		if !seen[r.Pattern] {
			seen[r.Pattern] = true
			mux.Handle(r.Pattern, handler)
		}
	}
}

// operator refuses who is no administrator.
func operator(r *rest.Request) error {
	if s := r.Subject; s.Anonymous || s.System || slices.Contains(s.Roles, "admin") {
		return nil
	}
	return fault.New(fault.Forbidden, "%s is not an administrator.", r.Subject.User)
}

// hostView is a host as operators see it.
type hostView struct {
	Name       string     `json:"name"`
	Node       string     `json:"node_uuid,omitempty"`
	Alive      bool       `json:"alive"`
	SystemUUID string     `json:"system_uuid,omitempty"`
	Service    int        `json:"service_version"`
	Virt       store.Virt `json:"virt"`
	Refused    string     `json:"refused,omitempty"`
	Disabled   string     `json:"disabled_reason,omitempty"`
	ReportedAt time.Time  `json:"reported_at"`
	ExpiresAt  time.Time  `json:"lease_expires_at"`
	Cards      []cardView `json:"cards"`
}

type cardView struct {
	Serial     string   `json:"serial"`
	Slot       string   `json:"slot"`
	Node       string   `json:"node_uuid,omitempty"`
	Name       string   `json:"name,omitempty"`
	PartNumber string   `json:"part_number,omitempty"`
	Problem    string   `json:"problem,omitempty"`
	Refused    string   `json:"refused,omitempty"`
	PFs        []pfView `json:"pfs"`
}

type pfView struct {
	Address         string  `json:"address"`
	MAC             string  `json:"mac,omitempty"`
	Netdev          string  `json:"netdev,omitempty"`
	VFs             int     `json:"vfs"`
	TotalVFs        int     `json:"total_vfs"`
	Claimed         int     `json:"claimed"`
	PhysicalNetwork *string `json:"physical_network"`
	RemoteManaged   bool    `json:"remote_managed"`
	Reason          string  `json:"reason,omitempty"`
}

// dpuView is a card's own Linux as operators see it.
type dpuView struct {
	Serial      string             `json:"serial"`
	System      string             `json:"system"`
	Chassis     string             `json:"chassis"`
	Node        string             `json:"node_uuid,omitempty"`
	Alive       bool               `json:"alive"`
	Source      string             `json:"serial_source"`
	UUID        string             `json:"card_uuid,omitempty"`
	PartNumber  string             `json:"part_number,omitempty"`
	BMCAddress  string             `json:"bmc_address,omitempty"`
	Bridge      string             `json:"bridge"`
	Service     int                `json:"service_version"`
	Uplinks     []store.Uplink     `json:"uplinks"`
	Controllers []store.Controller `json:"controllers"`
	Problems    []string           `json:"problems"`
	Refused     string             `json:"refused,omitempty"`
	Orders      int                `json:"orders"`
	ReportedAt  time.Time          `json:"reported_at"`
	ExpiresAt   time.Time          `json:"lease_expires_at"`
}

func (a *api) listHosts(r *rest.Request) (*rest.Response, error) {
	list, err := a.hosts(r.Context(), r.Query()["name"])
	if err != nil {
		return nil, err
	}
	return rest.OK(encode(map[string]any{"hosts": list})), nil
}

func (a *api) showHost(r *rest.Request) (*rest.Response, error) {
	list, err := a.hosts(r.Context(), []string{r.PathValue("host")})
	if err == nil && len(list) == 0 {
		err = store.HostNotFound(r.PathValue("host"))
	}
	if err != nil {
		return nil, err
	}
	return rest.OK(encode(list[0])), nil
}

// hosts reads the hosts of these names, or all when names is nil, with their cards.
func (a *api) hosts(ctx context.Context, names []string) ([]hostView, error) {
	views := []hostView{}
	err := a.o.DB.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Hosts(ctx, store.HostQuery{Names: names})
		if err != nil {
			return err
		}
		one := ""
		if len(list) == 1 {
			one = list[0].Name
		}
		cards, err := cardsOf(ctx, tx, one)
		for _, h := range list {
			v := hostView{
				Name: h.Name, Node: h.Node, Alive: h.Alive, SystemUUID: h.SystemUUID, Service: h.Service, Virt: h.Virt, Refused: h.Refused,
				Disabled: h.Disabled, ReportedAt: h.ReportedAt, ExpiresAt: h.ExpiresAt, Cards: cards[h.Name],
			}
			if v.Cards == nil {
				v.Cards = []cardView{}
			}
			views = append(views, v)
		}
		return err
	})
	return views, err
}

// cardsOf reads the cards of a host, or of all when name is empty, by host.
func cardsOf(ctx context.Context, tx *store.Tx, name string) (map[string][]cardView, error) {
	cards, err := tx.HostCards(ctx, store.CardQuery{Host: name})
	if err != nil {
		return nil, err
	}
	var hosts []string
	if name != "" {
		hosts = []string{name}
	}
	pfs, err := tx.HostPFs(ctx, store.PFQuery{Hosts: hosts})
	if err != nil {
		return nil, err
	}
	claims, err := tx.ClaimedFunctions(ctx, name)
	if err != nil {
		return nil, err
	}
	of := map[[2]string][]pfView{}
	for _, p := range pfs {
		key := [2]string{p.Host, p.Slot}
		of[key] = append(of[key], pfView{
			Address: p.Address, MAC: p.MAC, Netdev: p.Netdev, VFs: p.VFs, TotalVFs: p.TotalVFs, Claimed: claims[[2]string{p.Host, p.Address}],
			PhysicalNetwork: p.PhysicalNetwork, RemoteManaged: p.RemoteManaged, Reason: p.Reason,
		})
	}
	nodes, err := nodesByCard(ctx, tx, nil)
	views := map[string][]cardView{}
	for _, c := range cards {
		views[c.Host] = append(views[c.Host], cardView{
			Serial: c.Serial, Slot: c.Slot, Node: nodes[c.Serial], Name: c.Name, PartNumber: c.PartNumber, Problem: c.Problem, Refused: c.Refused,
			PFs: of[[2]string{c.Host, c.Slot}],
		})
	}
	return views, err
}

// nodesByCard returns the UUIDs of cards' nodes by serial.
func nodesByCard(ctx context.Context, tx *store.Tx, serials []string) (map[string]string, error) {
	list, err := tx.CardNodes(ctx, serials, []string{"uuid", "card_serial"})
	uuids := map[string]string{}
	for _, n := range list {
		uuids[n.Card.Serial] = n.UUID
	}
	return uuids, err
}

func (a *api) deleteHost(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error { return tx.DeleteHost(r.Context(), r.PathValue("host")) })
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

func (a *api) listDPUs(r *rest.Request) (*rest.Response, error) { return a.dpus(r, nil) }

func (a *api) showDPU(r *rest.Request) (*rest.Response, error) {
	return a.dpus(r, []string{r.PathValue("serial")})
}

func (a *api) dpus(r *rest.Request, serials []string) (*rest.Response, error) {
	views := []dpuView{}
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		list, err := tx.DPUs(r.Context(), serials)
		if err != nil {
			return err
		}
		nodes, err := nodesByCard(r.Context(), tx, serials)
		if err != nil {
			return err
		}
		orders, err := tx.OrderCounts(r.Context())
		for _, d := range list {
			views = append(views, dpuView{
				Serial: d.Serial, System: d.System, Chassis: d.Chassis, Node: nodes[d.Serial], Alive: d.Alive, Source: d.Source, UUID: d.UUID,
				PartNumber: d.PartNumber, BMCAddress: d.BMCAddress, Bridge: d.Bridge, Service: d.Service, Uplinks: filled(d.Uplinks),
				Controllers: filled(d.Controllers), Problems: filled(d.Problems), Refused: d.Refused, Orders: orders[d.Serial],
				ReportedAt: d.ReportedAt, ExpiresAt: d.ExpiresAt,
			})
		}
		return err
	})
	if err == nil && serials != nil && len(views) == 0 {
		err = fault.New(fault.NotFound, "DPU of card %s has not reported.", serials[0])
	}
	if err != nil {
		return nil, err
	}
	return rest.OK(encode(map[string]any{"dpus": views})), nil
}

// filled returns list, or an empty one that JSON writes as [].
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a *api) reset(r *rest.Request) (*rest.Response, error) {
	serial := r.PathValue("serial")
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		list, err := tx.DPUs(r.Context(), []string{serial})
		if err == nil && len(list) == 0 {
			err = fault.New(fault.NotFound, "DPU of card %s has not reported.", serial)
		}
		return err
	})
	if err == nil {
		err = a.o.Binding.CardReset(r.Context(), serial)
	}
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
