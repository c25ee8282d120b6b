//go:build integration

package driver_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/riser-project/riser/internal/sim/bmc"
)

// cycle starts riser serve, has ask done, and ends the process by signal. What was asked must have succeeded.
func (p *program) cycle(t *testing.T, signal os.Signal, ask func(), flags ...string) {
	t.Helper()
	cmd := p.command(t.Context(), append([]string{"serve"}, flags...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil && signal != os.Kill {
			t.Errorf("riser serve ended with %v", err)
		}
	}()
	p.ready(t)
	ask()
}

// Controllers keep four sessions. A process that is killed leaves its Redfish session behind, and the next ones do without. One that is
// told to end leaves none, of Redfish or of IPMI. An IPMI session of a killed process has its place until the controller ends it, after
// about a minute, and IPMI has no other way in: that is not claimed here.
func TestAHundredRestartsDoNotLockOutAControllerWithFourSessions(t *testing.T) {
	leases := []string{"--lease-ttl=600ms", "--lease-renew=200ms", "--lease-delay=0s", "--sync-power-state-interval=1h"}
	tests := map[string]struct {
		signal os.Signal
		ipmi   bool
	}{
		"Redfish, killed":   {signal: os.Kill},
		"IPMI, told to end": {signal: os.Interrupt, ipmi: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := bmc.NewServer(bmc.Options{Sessions: 4, IPMI: true, On: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			p := newProgram(t)
			create := []string{"node", "create", "host", "--driver", "redfish", "--driver-info", "redfish_address=" + s.Host.Controller.URL,
				"--driver-info", "redfish_username=root", "--driver-info", "redfish_password=0penBmc"}
			sessions := s.Host.Controller.Sessions
			if tt.ipmi {
				create = []string{"node", "create", "host", "--driver", "ipmi", "--driver-info", "ipmi_address=" + s.Host.IPMI.Host,
					"--driver-info", fmt.Sprintf("ipmi_port=%d", s.Host.IPMI.Port), "--driver-info", "ipmi_username=root", "--driver-info", "ipmi_password=0penBmc"}
				sessions = s.Host.IPMI.Sessions
			}
			p.cycle(t, os.Interrupt, func() {
				p.run(t, create...)
				p.run(t, "node", "manage", "host", "--wait")
			}, leases...)
			start := time.Now()
			most := 0
			for i := range 100 {
				device := []string{"pxe", "disk"}[i%2]
				p.cycle(t, tt.signal, func() {
					p.run(t, "node", "boot-device", "set", "host", device, "--retry", "10s")
					most = max(most, sessions())
				}, leases...)
				if t.Failed() {
					t.Fatalf("restart %d", i+1)
				}
			}
			t.Logf("100 restarts in %s; at most %d sessions at once, %d at the end", time.Since(start).Round(time.Second), most, sessions())
			if n := len(s.Host.Controller.Changes()); n < 100 {
				t.Errorf("the controller received %d commands of 100", n)
			}
			if n := sessions(); n > 0 && tt.signal != os.Kill {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}
