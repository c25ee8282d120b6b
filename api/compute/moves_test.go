package compute_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"

	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/store"
)

// openTwoHosts is open with a second host, cmp2, and all agents running.
func openTwoHosts(t *testing.T) *cloud {
	t.Helper()
	c := open(t)
	c.agents()
	c.Node("cmp2")
	c.Report("cmp2", attachsim.Card("MT2113X00003", 0x83, 1, 2))
	c.Start(c.DPU("MT2113X00003", "dpu-c").Run)
	return c
}

// post sends a body to a path of the API and returns the answer's status and body.
func (c *cloud) post(t *testing.T, path string, body any) (status int, answer map[string]any) {
	t.Helper()
	var out map[string]any
	response, err := c.compute.Post(t.Context(), c.compute.ServiceURL(path), body, &out, &gophercloud.RequestOpts{OkCodes: []int{200, 207, 400, 404, 409}})
	c.Must(err)
	c.Must(response.Body.Close())
	return response.StatusCode, out
}

type migration struct {
	UUID   string `json:"uuid"`
	Server string `json:"instance_uuid"`
	Type   string `json:"migration_type"`
	Status string `json:"status"`
	Source string `json:"source_compute"`
	Dest   string `json:"dest_compute"`
}

func (c *cloud) migrations(t *testing.T, query string) []migration {
	t.Helper()
	var out struct {
		Migrations []migration `json:"migrations"`
	}
	response, err := c.compute.Get(t.Context(), c.compute.ServiceURL("os-migrations")+"?"+query, &out, nil)
	c.Must(err)
	c.Must(response.Body.Close())
	return out.Migrations
}

func TestAColdMigrationIsConfirmedOrReverted(t *testing.T) {
	c := openTwoHosts(t)
	s := c.boot(t, c.port(t, c.blue(t)).ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	if err := servers.ConfirmResize(t.Context(), c.compute, s.ID).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("a confirmation without a migration: %v, want 409", err)
	}
	c.Must(servers.Migrate(t.Context(), c.compute, s.ID).ExtractErr())
	if got := c.untilStatus(t, s.ID, "VERIFY_RESIZE"); got.HypervisorHostname != "cmp2" {
		t.Errorf("the server is on %s, want cmp2", got.HypervisorHostname)
	}
	c.Must(servers.RevertResize(t.Context(), c.compute, s.ID).ExtractErr())
	if got := c.untilStatus(t, s.ID, "ACTIVE"); got.HypervisorHostname != "cmp1" {
		t.Errorf("the server is on %s, want cmp1", got.HypervisorHostname)
	}
	c.Must(servers.Migrate(t.Context(), c.compute, s.ID).ExtractErr())
	c.untilStatus(t, s.ID, "VERIFY_RESIZE")
	c.Must(servers.ConfirmResize(t.Context(), c.compute, s.ID).ExtractErr())
	c.untilStatus(t, s.ID, "ACTIVE")
	list := c.migrations(t, "instance_uuid="+s.ID)
	if len(list) != 2 || list[0].Status != "confirmed" || list[1].Status != "reverted" || list[0].Source != "cmp1" || list[0].Dest != "cmp2" || list[0].Type != "migration" {
		t.Errorf("migrations %+v", list)
	}
	if got := c.migrations(t, "status=reverted&host=cmp2"); len(got) != 1 || got[0].UUID != list[1].UUID {
		t.Errorf("reverted migrations %+v", got)
	}
	c.until(t, "one claim", func() bool { return len(c.Claims(store.ClaimQuery{})) == 1 })
}

func TestAnEvacuationNeedsASilentHost(t *testing.T) {
	c := openTwoHosts(t)
	s := c.boot(t, c.port(t, c.blue(t)).ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	if _, err := servers.Evacuate(t.Context(), c.compute, s.ID, servers.EvacuateOpts{}).ExtractAdminPass(); !gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
		t.Errorf("away from a host that lives: %v, want 400", err)
	}
	c.Write(func(tx *store.Tx) error {
		_, err := tx.BeatHost(t.Context(), "cmp1", -time.Second)
		return err
	})
	_, err := servers.Evacuate(t.Context(), c.compute, s.ID, servers.EvacuateOpts{Host: "cmp2"}).ExtractAdminPass()
	c.Must(err)
	if got := c.untilStatus(t, s.ID, "ACTIVE"); got.HypervisorHostname != "cmp2" {
		t.Errorf("the server is on %s, want cmp2", got.HypervisorHostname)
	}
	if list := c.migrations(t, "migration_type=evacuation"); len(list) != 1 || list[0].Status != "done" {
		t.Errorf("migrations %+v", list)
	}
}

func TestARebuildTakesAnotherImage(t *testing.T) {
	c := openTwoHosts(t)
	s := c.boot(t, c.port(t, c.blue(t)).ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	got, err := servers.Rebuild(t.Context(), c.compute, s.ID, servers.RebuildOpts{ImageRef: "other"}).Extract()
	c.Must(err)
	if got.Status != "REBUILD" {
		t.Errorf("status %s, want REBUILD", got.Status)
	}
	c.untilStatus(t, s.ID, "ACTIVE")
	if d, _ := c.virt.Domain(s.ID); d.Image != "other" || len(d.Functions) != 1 {
		t.Errorf("domain %+v", d)
	}
}

func TestExternalEvents(t *testing.T) {
	c := openTwoHosts(t)
	p := c.port(t, c.blue(t))
	s := c.boot(t, p.ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	event := func(name, server string) map[string]any {
		return map[string]any{"name": name, "server_uuid": server, "tag": p.ID, "status": "completed"}
	}
	const nobody = "5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0009"
	for name, tt := range map[string]struct {
		events []any
		status int
		codes  string
	}{
		"one of a server":       {[]any{event("network-vif-plugged", s.ID)}, 200, "200 "},
		"one of two unknown":    {[]any{event("network-vif-unplugged", nobody), event("network-changed", s.ID)}, 207, "404 200 "},
		"only unknown servers":  {[]any{event("network-vif-plugged", nobody)}, 404, ""},
		"an event that is none": {[]any{event("network-vif-painted", s.ID)}, 400, ""},
		"no events":             {[]any{}, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := c.post(t, "os-server-external-events", map[string]any{"events": tt.events})
			codes := ""
			list, _ := answer["events"].([]any)
			for _, e := range list {
				codes += fmt.Sprint(e.(map[string]any)["code"], " ")
			}
			if status != tt.status || codes != tt.codes {
				t.Errorf("status %d, codes %q; want %d, %q", status, codes, tt.status, tt.codes)
			}
		})
	}
}
