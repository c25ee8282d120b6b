package redfish_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
)

var hasty = driver.Pace{
	Poll: 2 * time.Millisecond, Rest: 30 * time.Millisecond, Off: time.Second, On: time.Second, SoftOff: time.Second,
	Restart: 2 * time.Second, Boot: time.Second, Hint: 30 * time.Millisecond,
}

// lieTest is what a lie does to: opening, identity, boot device, off, on, reboot, firmware update. The first error ends the story.
type lieTest struct {
	at   string // what fails; empty when the lie is tolerated
	kind fault.Kind
	says string
	lit  bool // the machine has power at the end
}

var lieTests = map[string]lieTest{
	"hang":                {at: "open", kind: fault.Timeout, says: "did not answer GET /redfish/v1/ within", lit: true},
	"hang-on-reset":       {at: "off", kind: fault.Timeout, says: "it is unknown whether it was carried out", lit: true},
	"slow-loris":          {at: "open", kind: fault.Timeout, says: "did not answer", lit: true},
	"endless-body":        {at: "open", kind: fault.Unavailable, says: "with more than 4194304 bytes", lit: true},
	"huge-body":           {at: "open", kind: fault.Unavailable, says: "with more than 4194304 bytes", lit: true},
	"truncated-body":      {at: "open", kind: fault.Unavailable, says: "broke off its answer", lit: true},
	"empty-body":          {at: "open", kind: fault.Unavailable, says: "no Redfish resource", lit: true},
	"html-body":           {at: "open", kind: fault.Unavailable, says: "no Redfish resource", lit: true},
	"not-utf8":            {at: "open", kind: fault.Unavailable, says: "broken JSON", lit: true},
	"deep-json":           {at: "open", kind: fault.Unavailable, says: "lists no system", lit: true},
	"array-body":          {at: "open", kind: fault.Unavailable, says: "no Redfish resource", lit: true},
	"lost-answer":         {at: "update", kind: fault.Timeout, says: "it is unknown whether it was carried out", lit: true},
	"lost-request":        {at: "boot", kind: fault.Timeout, says: "it is unknown whether it was carried out", lit: true},
	"closed":              {at: "open", kind: fault.Unavailable, says: "broke off", lit: true},
	"busy":                {at: "open", kind: fault.Unavailable, says: "503", lit: true},
	"broken":              {at: "open", kind: fault.Unavailable, says: "500", lit: true},
	"redirect-link-local": {at: "open", kind: fault.Unavailable, says: "outside its service: not followed", lit: true},
	"redirect-other-host": {at: "open", kind: fault.Unavailable, says: "outside its service: not followed", lit: true},
	"redirect-loop":       {at: "open", kind: fault.Unavailable, says: "without end", lit: true},
	"unauthorized":        {at: "open", kind: fault.Unauthorized, says: "refused the credentials", lit: true},
	"forbidden":           {at: "open", kind: fault.Forbidden, says: "lacks a privilege", lit: true},
	"session-full":        {lit: true},
	"session-forgotten":   {lit: true},
	"no-sessions":         {lit: true},
	"no-token":            {lit: true},
	"etag-required":       {lit: true},
	"settings-only":       {lit: true},
	"wrong-types":         {at: "boot", kind: fault.Unavailable, says: "accepted the boot override", lit: true},
	"all-null":            {at: "open", kind: fault.Unavailable, says: "lists no system", lit: true},
	"no-members":          {at: "open", kind: fault.Unavailable, says: "lists no system", lit: true},
	"empty-members":       {at: "open", kind: fault.Unavailable, says: "lists no system", lit: true},
	"duplicate-members":   {lit: true},
	"member-loop":         {lit: true},
	"foreign-links":       {at: "open", kind: fault.Unavailable, says: "outside its service", lit: true},
	"escaping-links":      {at: "open", kind: fault.Unavailable, says: "outside its service", lit: true},
	"nested-allowable":    {lit: true},
	"no-reset-types":      {lit: true},
	"two-systems":         {at: "open", kind: fault.Invalid, says: "set redfish_system_id to one of them", lit: true},
	"no-identity":         {lit: true},
	"copied-serials":      {lit: true},
	"scp-only":            {at: "update", kind: fault.Unsupported, says: "cannot fetch images by HTTP; it has SCP", lit: true},
	"no-op":               {at: "off", kind: fault.Timeout, says: "accepted ForceOff but still reports power on after 1s", lit: true},
	"on-while-dead":       {at: "off", kind: fault.Timeout, says: "accepted ForceOff but still reports power on after 1s"},
	"flapping":            {lit: true},
	"alternating":         {at: "off", kind: fault.Unavailable, says: "does not settle on a power state", lit: true},
	"power-null":          {at: "off", kind: fault.Timeout, says: "accepted ForceOff but still reports no power state"},
	"power-unknown":       {at: "off", kind: fault.Timeout, says: "accepted ForceOff but still reports no power state"},
	"conflict-once":       {lit: true},
	"refuse-with-act":     {lit: true},
	"no-restart":          {lit: true},
	"no-power-cycle":      {lit: true},
	"warm-reset-only":     {lit: true},
	"boot-stuck":          {at: "on", kind: fault.Timeout, says: "the machine did not start", lit: true},
	"boot-forgotten":      {at: "boot", kind: fault.Unavailable, says: "accepted the boot override Pxe Once but still has", lit: true},
	"task-never-ends":     {at: "update", kind: fault.Timeout, says: "given up", lit: true},
	"task-vanishes":       {at: "update", kind: fault.NotFound, says: "404", lit: true},
	"task-fails":          {at: "update", kind: fault.Conflict, says: "Transfer of image", lit: true},
}

// A card that is told to cycle its power while its host runs keeps that for later, as real ones do.
var cardLieTests = map[string]lieTest{
	"no-restart": {at: "reboot", kind: fault.Timeout, says: "a power cycle by hand, is needed", lit: true},
}

var quick = bmc.Timing{On: 5 * time.Millisecond, Off: 5 * time.Millisecond, Shutdown: 10 * time.Millisecond, Boot: 600 * time.Millisecond, Update: 30 * time.Millisecond}

// outcome is how a story ended.
type outcome struct {
	at  string
	err error
	url string
	lit bool
}

func TestLiesAreToleratedOrTold(t *testing.T) {
	kinds := []string{"host", "card"}
	// Most of a story is waiting, so many run at once, whatever the number of processors.
	ends := map[string]chan outcome{}
	slots := make(chan struct{}, 24)
	for _, lie := range bmc.Lies {
		for which, kind := range kinds {
			s := server(t, bmc.Options{Cards: 1, Timing: quick})
			m := []*bmc.Machine{s.Host, s.Cards[0]}[which]
			end := make(chan outcome, 1)
			ends[lie.Name+kind] = end
			go func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				err := m.Controller.Tell(lie.Name)
				at := "tell"
				if err == nil {
					at, err = story(t, m, lie.Name)
				}
				end <- outcome{at, err, m.Controller.URL, m.State().Power}
			}()
		}
	}
	for _, lie := range bmc.Lies {
		for _, kind := range kinds {
			end := <-ends[lie.Name+kind]
			t.Run(lie.Name+" by the controller of a "+kind, func(t *testing.T) {
				tt, ok := lieTests[lie.Name]
				if special, has := cardLieTests[lie.Name]; has && kind == "card" {
					tt = special
				}
				if !ok {
					t.Fatal("the lie has no test")
				}
				tt.check(t, end)
			})
		}
	}
}

func (tt lieTest) check(t *testing.T, end outcome) {
	want := tt.kind
	if tt.at == "" {
		want = fault.Internal
	}
	if end.at != tt.at || fault.KindOf(end.err) != want || (end.err != nil) != (tt.at != "") {
		t.Fatalf("%q failed with %v (%v), want %q with %v", end.at, end.err, fault.KindOf(end.err), tt.at, want)
	}
	if end.err != nil && (!strings.Contains(end.err.Error(), tt.says) || !strings.Contains(end.err.Error(), end.url)) {
		t.Errorf("%q does not name the controller and say %q", end.err, tt.says)
	}
	if end.err != nil && strings.Contains(end.err.Error(), password) {
		t.Errorf("%q holds the password", end.err)
	}
	if end.lit != tt.lit {
		t.Errorf("the machine's power is %v", end.lit)
	}
}

// story is what a machine goes through. It returns what failed first.
func story(t *testing.T, m *bmc.Machine, lie string) (string, error) {
	d := newDriver()
	if strings.HasPrefix(lie, "hang") || lie == "slow-loris" {
		d = impatient()
	}
	c, err := d.Connect(t.Context(), nodeOf(m, nil))
	if err != nil {
		return "open", err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Identity(t.Context()); err != nil {
		return "identity", err
	}
	if err := c.SetBootDevice(t.Context(), "pxe", false); err != nil {
		return "boot", err
	}
	for _, p := range []struct {
		name   string
		target node.PowerState
	}{{"off", node.PowerOff}, {"on", node.PowerOn}, {"reboot", node.Rebooting}} {
		if _, err := driver.ChangePower(t.Context(), c, c, p.target, hasty); err != nil {
			return p.name, err
		}
		for start := time.Now(); p.target == node.PowerOn && !m.State().Booted && time.Since(start) < 5*time.Second; {
			time.Sleep(5 * time.Millisecond) // a restart in the middle of a boot shows no sign on a card
		}
	}
	if err := update(t, c); err != nil {
		return "update", err
	}
	return "", nil
}

func TestMemoryStaysBoundedWhateverComes(t *testing.T) {
	s := server(t, bmc.Options{})
	if err := s.Host.Controller.Tell("endless-body"); err != nil {
		t.Fatal(err)
	}
	d := newDriver()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		if _, err := d.Open(t.Context(), nodeOf(s.Host, nil)); err == nil {
			t.Fatal("an endless answer was read to its end")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("20 endless answers left %d MiB", grown>>20)
	}
}
