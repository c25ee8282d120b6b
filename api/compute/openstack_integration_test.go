//go:build integration

package compute_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/riser-project/riser/internal/lab"
)

// OpenStack's own command line, without an identity service: each service has its endpoint.
func TestTheOpenStackCommandLine(t *testing.T) {
	c := openTwoHosts(t)
	client := lab.OpenStackOfRelease(t)
	clouds := filepath.Join(t.TempDir(), "clouds.yaml")
	c.Must(os.WriteFile(clouds, fmt.Appendf(nil, `
clouds:
  riser:
    auth_type: none
    auth: {endpoint: "%[1]s/compute/v2.1"}
    compute_api_version: "2.90"
    compute_endpoint_override: "%[1]s/compute/v2.1"
    network_endpoint_override: "%[1]s/networking/"
`, c.url), 0o600))
	run := func(args ...string) string {
		t.Helper()
		out, err := client.Run(t, append([]string{"env", "OS_CLIENT_CONFIG_FILE=" + clouds, "openstack", "--os-cloud", "riser"}, args...)...)
		c.Must(err)
		return out
	}
	want := func(got, wanted string) {
		t.Helper()
		if got != wanted {
			t.Errorf("printed %q, want %q", got, wanted)
		}
	}
	p := c.port(t, c.blue(t))
	want(run("flavor", "list", "-f", "value", "-c", "Name", "--limit", "1"), "m1.tiny")
	s := c.boot(t, p.ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	want(run("server", "list", "--no-name-lookup", "-f", "value", "-c", "Name", "-c", "Status"), "web ACTIVE")
	run("server", "migrate", s.ID)
	c.untilStatus(t, s.ID, "VERIFY_RESIZE")
	run("server", "migration", "confirm", s.ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	second := c.port(t, p.NetworkID)
	run("server", "add", "port", s.ID, second.ID)
	run("server", "remove", "port", s.ID, second.ID)
	want(run("hypervisor", "list", "-f", "value", "-c", "Hypervisor Hostname"), "cmp1\ncmp2")
	want(run("compute", "service", "list", "-f", "value", "-c", "Host", "-c", "State"), "cmp1 up\ncmp2 up")
	want(run("server", "migration", "list", "-f", "value", "-c", "Status"), "confirmed")
	run("server", "delete", "--wait", s.ID)
}
