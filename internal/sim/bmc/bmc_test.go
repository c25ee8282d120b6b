package bmc_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/internal/sim/bmc"
)

var quick = bmc.Timing{On: 5 * time.Millisecond, Off: 5 * time.Millisecond, Shutdown: 10 * time.Millisecond, Boot: 50 * time.Millisecond, Update: 20 * time.Millisecond}

func server(t *testing.T, o bmc.Options) *bmc.Server {
	t.Helper()
	o.Timing = quick
	s, err := bmc.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask sends a request as root and returns the status and the body.
func ask(t *testing.T, m *bmc.Machine, method, path, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, m.Controller.URL+"/redfish/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("root", "0penBmc")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if len(bytes.TrimSpace(b)) > 0 {
		if err := json.Unmarshal(b, &o); err != nil {
			t.Fatalf("%s %s: %v in %q", method, path, err, b)
		}
	}
	return resp.StatusCode, o
}

func systemOf(m *bmc.Machine) string {
	if m.Slot > 0 {
		return "/Systems/Bluefield"
	}
	return "/Systems/1"
}

func reset(t *testing.T, m *bmc.Machine, kind string) {
	t.Helper()
	if status, _ := ask(t, m, "POST", systemOf(m)+"/Actions/ComputerSystem.Reset", `{"ResetType":"`+kind+`"}`); status/100 != 2 {
		t.Fatalf("reset %s: %d", kind, status)
	}
}

// until waits for the machine to be as wanted.
func until(t *testing.T, m *bmc.Machine, what string, ok func(bmc.State) bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); !ok(m.State()); {
		if time.Now().After(end) {
			t.Fatalf("%s never: %s; %+v", m.Name, what, m.State())
		}
		time.Sleep(time.Millisecond)
	}
}

func on(s bmc.State) bool     { return s.Power }
func off(s bmc.State) bool    { return !s.Power }
func booted(s bmc.State) bool { return s.Booted }

func TestACardLivesAndDiesWithItsSlot(t *testing.T) {
	s := server(t, bmc.Options{Cards: 2})
	if st := s.Cards[0].State(); st.Power || st.Progress != "None" {
		t.Errorf("a card in a host that is off: %+v", st)
	}
	reset(t, s.Cards[0], "On")
	time.Sleep(4 * quick.On)
	if s.Cards[0].State().Power {
		t.Error("a card has power without its host")
	}
	start := time.Now()
	reset(t, s.Host, "On")
	if s.Host.State().Power && time.Since(start) < quick.On {
		t.Error("power came at once")
	}
	for _, m := range append(s.Cards, s.Host) {
		until(t, m, "boots", booted)
	}
	reset(t, s.Host, "ForceOff")
	until(t, s.Host, "off", off)
	if s.Cards[1].State().Power {
		t.Error("a card outlives its slot")
	}
}

func TestACardThatHasNotBootedSaysOn(t *testing.T) {
	s := server(t, bmc.Options{Cards: 1})
	if err := s.Cards[0].Controller.Tell("boot-stuck"); err != nil {
		t.Fatal(err)
	}
	reset(t, s.Host, "On")
	until(t, s.Host, "on", on)
	_, o := ask(t, s.Cards[0], "GET", "/Systems/Bluefield", "")
	if o["PowerState"] != "On" || o["BootProgress"].(map[string]any)["LastState"] != "None" {
		t.Errorf("power %v, progress %v", o["PowerState"], o["BootProgress"])
	}
}

func TestARestartOfTheHostDoesNotTouchItsCards(t *testing.T) {
	s := server(t, bmc.Options{Cards: 1, On: true})
	boots := s.Cards[0].State().Boots
	reset(t, s.Host, "ForceRestart")
	until(t, s.Host, "restarts", func(st bmc.State) bool { return st.Boots == 2 && st.Booted })
	if n := s.Cards[0].State().Boots; n != boots {
		t.Errorf("the card started %d times", n)
	}
	reset(t, s.Host, "PowerCycle")
	until(t, s.Cards[0], "starts again", func(st bmc.State) bool { return st.Boots == boots+1 })
}

func TestACardWithItsOwnSupplyDoesNotFollowItsHost(t *testing.T) {
	s := server(t, bmc.Options{Cards: 1, Supply: true})
	until(t, s.Cards[0], "boots", booted)
	reset(t, s.Cards[0], "ForceOff")
	until(t, s.Cards[0], "sleeps", func(st bmc.State) bool { return st.Progress == "LowPowerStandby" })
	reset(t, s.Host, "On")
	until(t, s.Host, "on", on)
	if s.Cards[0].State().Power {
		t.Error("the host woke the card")
	}
	reset(t, s.Cards[0], "On")
	until(t, s.Cards[0], "boots", booted)
}

func TestACardCyclesOnlyWhenItsHostStandsBy(t *testing.T) {
	s := server(t, bmc.Options{Cards: 1, On: true, Supply: true})
	card := s.Cards[0]
	reset(t, card, "PowerCycle")
	time.Sleep(4 * (quick.On + quick.Off))
	if n := card.State().Boots; n != 1 {
		t.Errorf("the card started %d times under a running host", n)
	}
	reset(t, s.Host, "ForceOff")
	until(t, card, "cycles", func(st bmc.State) bool { return st.Boots == 2 })
}

func TestABootOverrideCountsOnce(t *testing.T) {
	s := server(t, bmc.Options{On: true})
	if status, _ := ask(t, s.Host, "PATCH", "/Systems/1", `{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Pxe"}}`); status != http.StatusNoContent {
		t.Fatalf("status %d", status)
	}
	for i, want := range []string{"Pxe", "Hdd"} {
		reset(t, s.Host, "ForceRestart")
		until(t, s.Host, "restarts", func(st bmc.State) bool { return st.Boots == 2+i })
		if got := s.Host.State().BootFrom; got != want {
			t.Errorf("start %d was from %s, want %s", i+1, got, want)
		}
	}
}

func TestWithoutMainsThereAreNoControllers(t *testing.T) {
	s := server(t, bmc.Options{Cards: 1, On: true})
	s.SetAC(false)
	if status, _ := ask(t, s.Host, "GET", "/", ""); status != 0 {
		t.Errorf("the host's controller answers %d", status)
	}
	s.SetAC(true)
	if status, o := ask(t, s.Host, "GET", "/Systems/1", ""); status != 200 || o["PowerState"] != "Off" {
		t.Errorf("with mains again: %d, %v", status, o["PowerState"])
	}
}

func TestSlotsWithoutStandbyPowerTakeTheControllersWithThem(t *testing.T) {
	s := server(t, bmc.Options{Cards: 1, On: true, Aux: true})
	if status, _ := ask(t, s.Cards[0], "GET", "/", ""); status != 200 {
		t.Errorf("status %d while the host is on", status)
	}
	reset(t, s.Host, "ForceOff")
	until(t, s.Host, "off", off)
	if status, _ := ask(t, s.Cards[0], "GET", "/", ""); status != 0 {
		t.Errorf("status %d while the host is off", status)
	}
}

func TestRequestsAreRecordedWithoutSecrets(t *testing.T) {
	s := server(t, bmc.Options{On: true})
	ask(t, s.Host, "POST", "/SessionService/Sessions", `{"UserName":"root","Password":"0penBmc"}`)
	reset(t, s.Host, "Nmi")
	var got []string
	for _, r := range s.Host.Controller.Requests() {
		got = append(got, r.Method+" "+r.Path+" "+r.Body)
	}
	want := []string{
		`POST /redfish/v1/SessionService/Sessions {"Password":"***","UserName":"root"}`,
		`POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset {"ResetType":"Nmi"}`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
	if n := len(s.Host.Controller.Changes()); n != 1 {
		t.Errorf("%d changes", n)
	}
}

func TestTooManyRefusalsLockTheAccount(t *testing.T) {
	s := server(t, bmc.Options{On: true})
	for range 5 {
		s.Host.Controller.SetPassword("another")
		if status, _ := ask(t, s.Host, "GET", "/Systems", ""); status != http.StatusUnauthorized {
			t.Errorf("a wrong password: %d", status)
		}
	}
	s.Host.Controller.SetPassword("0penBmc")
	if status, _ := ask(t, s.Host, "GET", "/Systems", ""); status != http.StatusUnauthorized {
		t.Errorf("the right password on a locked account: %d", status)
	}
}

func TestSessionsAreLimited(t *testing.T) {
	s := server(t, bmc.Options{Sessions: 2})
	for i, want := range []int{201, 201, 503} {
		if status, _ := ask(t, s.Host, "POST", "/SessionService/Sessions", `{"UserName":"root","Password":"0penBmc"}`); status != want {
			t.Errorf("session %d: %d, want %d", i+1, status, want)
		}
	}
	if n := s.Host.Controller.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	s := server(t, bmc.Options{Cards: 2, On: true})
	for _, m := range append(s.Cards, s.Host) {
		todo, seen := []string{"/redfish/v1"}, map[string]bool{}
		for len(todo) > 0 {
			path := todo[0]
			todo = todo[1:]
			if seen[path] {
				continue
			}
			seen[path] = true
			status, o := ask(t, m, "GET", strings.TrimPrefix(path, "/redfish/v1"), "")
			if status != 200 {
				t.Errorf("%s: GET %s: %d", m.Name, path, status)
				continue
			}
			todo = append(todo, linksIn(o)...)
		}
		if len(seen) < 20 {
			t.Errorf("%s has %d resources", m.Name, len(seen))
		}
	}
}

func linksIn(v any) (paths []string) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && (k == "@odata.id" || k == "@Redfish.ActionInfo") {
				paths = append(paths, s)
			}
			paths = append(paths, linksIn(e)...)
		}
	case []any:
		for _, e := range v {
			paths = append(paths, linksIn(e)...)
		}
	}
	return paths
}

func TestLies(t *testing.T) {
	s := server(t, bmc.Options{On: true})
	if len(bmc.Lies) < 40 {
		t.Errorf("there are %d lies", len(bmc.Lies))
	}
	seen := map[string]bool{}
	for _, l := range bmc.Lies {
		if seen[l.Name] || l.Summary == "" {
			t.Errorf("lie %q stands twice, or has no summary", l.Name)
		}
		seen[l.Name] = true
	}
	if err := s.Host.Controller.Tell("no-such-lie"); err == nil {
		t.Error("a lie that does not exist can be told")
	}
	if err := s.Host.Controller.Tell("no-op"); err != nil {
		t.Fatal(err)
	}
	reset(t, s.Host, "ForceOff")
	time.Sleep(4 * quick.Off)
	if !s.Host.State().Power {
		t.Error("no-op did something")
	}
	if err := s.Host.Controller.Tell(); err != nil {
		t.Fatal(err)
	}
	reset(t, s.Host, "ForceOff")
	until(t, s.Host, "off", off)
}

func TestModeOfACardChangesWithALossOfPower(t *testing.T) {
	s := server(t, bmc.Options{Cards: 1, On: true})
	card := s.Cards[0]
	if status, _ := ask(t, card, "POST", "/Systems/Bluefield/Oem/Nvidia/Actions/Mode.Set", `{"Mode":"NicMode"}`); status != 200 {
		t.Fatalf("status %d", status)
	}
	mode := func() any {
		_, o := ask(t, card, "GET", "/Systems/Bluefield/Oem/Nvidia", "")
		return o["Mode"]
	}
	reset(t, card, "ForceRestart")
	until(t, card, "restarts", func(st bmc.State) bool { return st.Boots == 2 })
	if mode() != "DpuMode" {
		t.Errorf("mode %v after a restart of the card", mode())
	}
	reset(t, s.Host, "PowerCycle")
	until(t, card, "starts again", func(st bmc.State) bool { return st.Boots == 3 })
	if mode() != "NicMode" {
		t.Errorf("mode %v after a cycle of the host", mode())
	}
}
