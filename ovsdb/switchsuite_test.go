package ovsdb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riser-project/riser/ovsdb"
)

// suite is a list of tests that run over a real server and over a simulated one alike.
type suite[T any] []struct {
	name string
	test func(*testing.T, T)
}

func (s suite[T]) run(t *testing.T, start func(*testing.T) T) {
	for _, tt := range s {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, start(t)) })
	}
}

// card is a switch with bridges br-int and br-ex, system-id chassis-dpu1 and host name dpu1.example.
type card struct {
	endpoint string
	raw      *raw
}

// switchSuite is what every server of database Open_vSwitch must let riser do.
var switchSuite = suite[card]{
	{"plug creates one interface with its marks", testPlugCreates},
	{"plug replaces in one transaction", testPlugReplaces},
	{"plug refuses", testPlugRefuses},
	{"what belongs to others is left alone and named", testForeign},
	{"unplug", testUnplug},
	{"marks of others stay unless the port changes", testMarksOfOthers},
	{"another bridge moves the port", testMove},
	{"a generation that cannot be read is not guessed", testGarbageGeneration},
	{"the database refuses what was overtaken", testOvertaken},
	{"only one session writes", testSessions},
	{"ovn-cms-options are added and never clobbered", testCMSOptions},
	{"identity", testIdentity},
	{"what was written is read back", testReadBack},
}

func openSwitch(t testing.TB, endpoint string) *ovsdb.Switch {
	t.Helper()
	return openSwitchAs(t, ovsdb.Config{Endpoint: endpoint})
}

func openSwitchAs(t testing.TB, cfg ovsdb.Config) *ovsdb.Switch {
	t.Helper()
	s, err := ovsdb.OpenSwitch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func attach(name, port string, generation int64) ovsdb.Attachment {
	return ovsdb.Attachment{Bridge: "br-int", Interface: name, IfaceID: port, Generation: generation}
}

func instead(a ovsdb.Attachment, port string) ovsdb.Attachment {
	a.Replaces = port
	return a
}

func mustPlug(t testing.TB, s *ovsdb.Switch, list ...ovsdb.Attachment) {
	t.Helper()
	for _, a := range list {
		if _, err := s.Plug(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
}

// catchUp returns when s has seen all that was committed before: updates come before the answer to a later write.
func catchUp(t testing.TB, s *ovsdb.Switch) {
	t.Helper()
	for _, f := range []func(context.Context, string) (bool, error){s.AddCMSOption, s.RemoveCMSOption} {
		if wrote, err := f(t.Context(), "catch=up"); err != nil || !wrote {
			t.Fatal(wrote, err)
		}
	}
}

func testPlugCreates(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	a := attach("pf0vf3", "port-a", 7)
	a.IfaceIDVer, a.MTU = "v1", 1442
	if wrote, err := s.Plug(t.Context(), a); err != nil || !wrote {
		t.Fatalf("wrote %v, %v", wrote, err)
	}
	if wrote, err := s.Plug(t.Context(), a); err != nil || wrote {
		t.Errorf("repeated: wrote %v, %v", wrote, err)
	}
	got := c.raw.named("Interface", "pf0vf3")
	want := map[string]string{"iface-id": "port-a", "iface-id-ver": "v1", "riser-owner": "riser", "riser-generation": "7"}
	if diff := cmp.Diff(want, got.ids()); diff != "" || got["mtu_request"] != 1442.0 {
		t.Errorf("mtu_request %v, external_ids (-want +got):\n%s", got["mtu_request"], diff)
	}
	list, err := s.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	wantList := []ovsdb.Interface{{Name: "pf0vf3", Bridge: "br-int", IfaceID: "port-a", IfaceIDVer: "v1", Generation: 7, MTU: 1442}}
	// ovs-vswitchd may or may not have come to it yet.
	if diff := cmp.Diff(wantList, list, cmpopts.IgnoreFields(ovsdb.Interface{}, "OFPort", "LinkUp", "Error")); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
}

func testPlugReplaces(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	for _, tt := range []struct {
		name   string
		before []ovsdb.Attachment
		order  ovsdb.Attachment
		want   []string
	}{
		{
			"a newer generation only changes the mark",
			[]ovsdb.Attachment{attach("pf0vf3", "a", 1)}, attach("pf0vf3", "a", 2), []string{"pf0vf3 a 2 riser"},
		},
		{
			"another representor for the port takes the place of the old one",
			[]ovsdb.Attachment{attach("pf0vf3", "a", 1)}, attach("pf0vf4", "a", 2), []string{"pf0vf4 a 2 riser"},
		},
		{
			"a representor that was renamed is plugged under its new name with the same generation",
			[]ovsdb.Attachment{attach("eth7", "a", 1)}, attach("pf0vf3", "a", 1), []string{"pf0vf3 a 1 riser"},
		},
		{
			"a representor goes from the port that is named to the next one",
			[]ovsdb.Attachment{attach("pf0vf3", "b", 9)}, instead(attach("pf0vf3", "a", 1), "b"), []string{"pf0vf3 a 1 riser"},
		},
		{
			"a port takes over the representor of another one and leaves its own",
			[]ovsdb.Attachment{attach("pf0vf3", "b", 9), attach("pf0vf4", "a", 1)}, instead(attach("pf0vf3", "a", 2), "b"),
			[]string{"pf0vf3 a 2 riser"},
		},
		{
			"the ports beside it stay",
			[]ovsdb.Attachment{attach("pf0vf1", "x", 1), attach("pf0vf3", "a", 1)}, attach("pf0vf4", "a", 2),
			[]string{"pf0vf1 x 1 riser", "pf0vf4 a 2 riser"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mustPlug(t, s, tt.before...)
			observer := dialRaw(t, c.endpoint, "Open_vSwitch")
			observer.watch("Interface", "name", "external_ids")
			if wrote, err := s.Plug(t.Context(), tt.order); err != nil || !wrote {
				t.Fatalf("wrote %v, %v", wrote, err)
			}
			c.raw.t = t
			c.raw.expectPlugged(tt.want...)
			observer.rows("Interface") // what comes before its answer is all that the order did
			expectOneChangeOfMarks(t, observer.updates)
			for _, port := range []string{"a", "b", "x"} {
				if _, err := s.Unplug(t.Context(), port, ovsdb.AnyGeneration); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// expectOneChangeOfMarks fails unless one transaction alone changed riser's marks: nobody saw the port without an
// interface or with two.
func expectOneChangeOfMarks(t *testing.T, updates []json.RawMessage) {
	t.Helper()
	changes := 0
	for _, u := range updates {
		if strings.Contains(string(u), "riser-") || strings.Contains(string(u), `"delete"`) {
			changes++
		}
	}
	if changes != 1 {
		t.Errorf("%d transactions changed the interfaces, want 1: %s", changes, updates)
	}
}

func testPlugRefuses(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	mustPlug(t, s, attach("pf0vf3", "a", 5))
	for _, tt := range []struct {
		name  string
		order ovsdb.Attachment
		want  error
		says  string
	}{
		{"a lower generation", attach("pf0vf3", "a", 4), ovsdb.ErrOldGeneration, "generation 5"},
		{"a lower generation on another representor", attach("pf0vf4", "a", 4), ovsdb.ErrOldGeneration, "generation 5"},
		{"a representor that serves another port", attach("pf0vf3", "b", 9), ovsdb.ErrHeld, "port a, generation 5"},
		{"a representor that serves another port than the one that may lose it", instead(attach("pf0vf3", "b", 9), "c"), ovsdb.ErrHeld, "port a"},
		{"a bridge that is not there", ovsdb.Attachment{Bridge: "br-none", Interface: "pf0vf4", IfaceID: "b"}, ovsdb.ErrNotFound, "br-none"},
		{"an order without a port", ovsdb.Attachment{Bridge: "br-int", Interface: "pf0vf3"}, nil, "iface-id"},
		{"an order without an interface", ovsdb.Attachment{Bridge: "br-int", IfaceID: "a"}, nil, "interface"},
		{"an order without a bridge", ovsdb.Attachment{Interface: "pf0vf4", IfaceID: "b"}, nil, "bridge"},
		{"a negative generation", attach("pf0vf4", "b", -1), nil, "negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wrote, err := s.Plug(t.Context(), tt.order)
			if err == nil || wrote || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("wrote %v, %v; want %v that says %q", wrote, err, tt.want, tt.says)
			}
			c.raw.t = t
			c.raw.expectPlugged("pf0vf3 a 5 riser")
		})
	}
}

func testForeign(t *testing.T, c card) {
	for i, tt := range []struct {
		name  string
		have  string // name of the interface, %d made unique
		ids   []string
		owner string
		claim string
	}{
		{"OVN plugged the port itself", "other%d", []string{"iface-id", "a%d", "ovn-plugged", "representor"}, "ovn (representor)", "iface-id a%d"},
		{"an operator plugged the representor", "rep%d", nil, "unknown", "name rep%d"},
		{"another riser plugged the port", "other%d", []string{"iface-id", "a%d", "riser-owner", "blue", "riser-generation", "1"}, "riser-owner blue", "iface-id a%d"},
		{"somebody plugged this representor for this port", "rep%d", []string{"iface-id", "a%d"}, "unknown", "iface-id a%d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			unique := func(s string) string { return strings.ReplaceAll(s, "%d", fmt.Sprint(i)) }
			s := openSwitch(t, c.endpoint)
			c.raw.t = t
			for k := range tt.ids {
				tt.ids[k] = unique(tt.ids[k])
			}
			c.raw.addPort(unique(tt.have), tt.ids...)
			before := c.raw.plugged()
			_, err := s.Plug(t.Context(), attach(unique("rep%d"), unique("a%d"), 9))
			var foreign *ovsdb.ForeignError
			if !errors.As(err, &foreign) || foreign.Owner != tt.owner || foreign.Claim != unique(tt.claim) || foreign.Name != unique(tt.have) {
				t.Errorf("plug: %v", err)
			}
			_, err = s.Unplug(t.Context(), unique("a%d"), ovsdb.AnyGeneration)
			if want := slices.Contains(tt.ids, "iface-id"); want != errors.As(err, &foreign) {
				t.Errorf("unplug: %v", err)
			}
			c.raw.expectPlugged(before...)
			if list, err := s.Interfaces(); err != nil || len(list) != 0 {
				t.Errorf("riser claims %v, %v", list, err)
			}
			list, err := s.InterfacesOf(unique("a%d"))
			if got := slices.Contains(tt.ids, "iface-id"); err != nil || got != (len(list) == 1 && list[0].Owner == tt.owner && list[0].Bridge == "br-int") {
				t.Errorf("interfaces of the port: %+v, %v", list, err)
			}
		})
	}
}

func testUnplug(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	mustPlug(t, s, attach("pf0vf3", "a", 5), attach("pf0vf4", "b", 5))
	if wrote, err := s.Unplug(t.Context(), "a", 4); !errors.Is(err, ovsdb.ErrOldGeneration) || wrote {
		t.Errorf("a lower generation: %v, %v", wrote, err)
	}
	c.raw.expectPlugged("pf0vf3 a 5 riser", "pf0vf4 b 5 riser")
	if wrote, err := s.Unplug(t.Context(), "a", 6); err != nil || !wrote {
		t.Errorf("wrote %v, %v", wrote, err)
	}
	c.raw.expectPlugged("pf0vf4 b 5 riser")
	if ports := len(c.raw.rows("Port")) - len(c.raw.rows("Interface")); ports != 0 {
		t.Errorf("%d ports more than interfaces", ports)
	}
	for _, port := range []string{"a", "never-seen"} {
		if wrote, err := s.Unplug(t.Context(), port, ovsdb.AnyGeneration); err != nil || wrote {
			t.Errorf("port %q, which is not plugged: %v, %v", port, wrote, err)
		}
	}
	if _, err := s.Unplug(t.Context(), "", ovsdb.AnyGeneration); err == nil {
		t.Error("an order for no port was taken")
	}
	c.raw.addPort("pf0vf9", "iface-id", "b")
	var foreign *ovsdb.ForeignError
	if wrote, err := s.Unplug(t.Context(), "b", 6); !errors.As(err, &foreign) || !wrote {
		t.Errorf("own and foreign interface of one port: %v, %v; want the own one gone and the other named", wrote, err)
	}
	c.raw.expectPlugged("pf0vf9 b  ")
}

func testMarksOfOthers(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	mustPlug(t, s, attach("pf0vf3", "a", 1))
	c.raw.note("pf0vf3", "ovn-installed", "true", "ovn-installed-ts", "1", "note", "keep")
	a := attach("pf0vf3", "a", 2)
	a.IfaceIDVer, a.MTU = "v2", 1500
	mustPlug(t, s, a)
	want := map[string]string{
		"iface-id": "a", "iface-id-ver": "v2", "riser-owner": "riser", "riser-generation": "2",
		"ovn-installed": "true", "ovn-installed-ts": "1", "note": "keep",
	}
	if diff := cmp.Diff(want, c.raw.named("Interface", "pf0vf3").ids()); diff != "" {
		t.Errorf("same port (-want +got):\n%s", diff)
	}
	if list, err := s.Interfaces(); err != nil || len(list) != 1 || !list[0].Installed {
		t.Errorf("%+v, %v", list, err)
	}
	mustPlug(t, s, instead(attach("pf0vf3", "b", 1), "a"))
	want = map[string]string{"iface-id": "b", "riser-owner": "riser", "riser-generation": "1", "note": "keep"}
	got := c.raw.named("Interface", "pf0vf3")
	if diff := cmp.Diff(want, got.ids()); diff != "" {
		t.Errorf("another port (-want +got):\n%s", diff)
	}
	if mtu, set := got["mtu_request"].(float64); set {
		t.Errorf("mtu_request is left over: %v", mtu)
	}
}

func testMove(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	mustPlug(t, s, attach("pf0vf3", "a", 1))
	a := attach("pf0vf3", "a", 2)
	a.Bridge = "br-ex"
	mustPlug(t, s, a)
	c.raw.expectPlugged("pf0vf3 a 2 riser")
	list, err := s.Interfaces()
	if err != nil || len(list) != 1 || list[0].Bridge != "br-ex" {
		t.Errorf("%+v, %v", list, err)
	}
}

func testGarbageGeneration(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	c.raw.addPort("pf0vf3", "iface-id", "a", "riser-owner", "riser", "riser-generation", "3abc")
	catchUp(t, s)
	if _, err := s.Plug(t.Context(), attach("pf0vf3", "a", 9)); err == nil || !strings.Contains(err.Error(), `"3abc"`) {
		t.Errorf("plug: %v", err)
	}
	if _, err := s.Unplug(t.Context(), "a", 9); err == nil {
		t.Error("unplug guessed the generation")
	}
	if list, err := s.Interfaces(); err != nil || len(list) != 1 || list[0].Generation != -1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func testOvertaken(t *testing.T, c card) {
	const writers, orders = 4, 25
	type result struct {
		generation int64
		err        error
	}
	results := make(chan result)
	for w := range writers {
		s := openSwitch(t, c.endpoint)
		go func() {
			for i := range orders {
				generation := int64(i*writers + w)
				_, err := s.Plug(context.WithoutCancel(t.Context()), attach(fmt.Sprintf("pf0vf%d", generation%3), "a", generation))
				results <- result{generation, err}
			}
		}()
	}
	highest := int64(-1)
	for range writers * orders {
		r := <-results
		switch {
		case r.err == nil:
			highest = max(highest, r.generation)
		case !errors.Is(r.err, ovsdb.ErrOldGeneration) && !errors.Is(r.err, ovsdb.ErrConflict):
			t.Errorf("generation %d: %v", r.generation, r.err)
		}
	}
	c.raw.expectPlugged(fmt.Sprintf("pf0vf%d a %d riser", highest%3, highest))
}

func testSessions(t *testing.T, c card) {
	old, young := openSwitch(t, c.endpoint), openSwitch(t, c.endpoint)
	if err := old.Claim(t.Context(), "boot-1"); err != nil {
		t.Fatal(err)
	}
	mustPlug(t, old, attach("pf0vf3", "a", 3))
	if err := young.Claim(t.Context(), "boot-2"); err != nil {
		t.Fatal(err)
	}
	if _, err := young.Unplug(t.Context(), "a", 4); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Plug(t.Context(), attach("pf0vf3", "a", 3)); !errors.Is(err, ovsdb.ErrSuperseded) || !strings.Contains(err.Error(), "boot-2") {
		t.Errorf("a late order of the old session: %v", err)
	}
	mustPlug(t, young, attach("pf0vf3", "b", 1))
	if _, err := old.Unplug(t.Context(), "b", ovsdb.AnyGeneration); !errors.Is(err, ovsdb.ErrSuperseded) {
		t.Errorf("a late withdrawal of the old session: %v", err)
	}
	c.raw.expectPlugged("pf0vf3 b 1 riser")
	if err := old.Claim(t.Context(), ""); err == nil {
		t.Error("a session without a name")
	}
}

func testCMSOptions(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	expect := func(want string) {
		t.Helper()
		if got := c.raw.rows("Open_vSwitch")[0].ids()["ovn-cms-options"]; got != want {
			t.Errorf("ovn-cms-options %q, want %q", got, want)
		}
	}
	edit := func(f func(context.Context, string) (bool, error), element string, wrote bool) {
		t.Helper()
		if got, err := f(t.Context(), element); err != nil || got != wrote {
			t.Errorf("element %q: wrote %v, %v", element, got, err)
		}
	}
	edit(s.AddCMSOption, "card-serial-number=MT2113X00042", true)
	edit(s.AddCMSOption, "card-serial-number=MT2113X00042", false)
	expect("card-serial-number=MT2113X00042")
	c.raw.transact(op{"op": "update", "table": "Open_vSwitch", "where": []any{}, "row": op{
		"external_ids": dict("system-id", "chassis-dpu1", "ovn-cms-options", "enable-chassis-as-gw, availability-zones=az1:az2"),
	}})
	edit(s.AddCMSOption, "card-serial-number=MT2113X00042", true)
	expect("enable-chassis-as-gw,availability-zones=az1:az2,card-serial-number=MT2113X00042")
	edit(s.RemoveCMSOption, "card-serial-number=MT2113X0004", false)
	edit(s.RemoveCMSOption, "card-serial-number=MT2113X00042", true)
	expect("enable-chassis-as-gw,availability-zones=az1:az2")
	for _, bad := range []string{"", "a,b", " a", "a "} {
		if _, err := s.AddCMSOption(t.Context(), bad); err == nil {
			t.Errorf("element %q was taken", bad)
		}
	}
	errs := make(chan error)
	for i := range 4 {
		other := openSwitch(t, c.endpoint)
		go func() {
			_, err := other.AddCMSOption(context.WithoutCancel(t.Context()), fmt.Sprintf("n=%d", i))
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	got := strings.Split(c.raw.rows("Open_vSwitch")[0].ids()["ovn-cms-options"], ",")
	slices.Sort(got)
	if want := []string{"availability-zones=az1:az2", "enable-chassis-as-gw", "n=0", "n=1", "n=2", "n=3"}; !slices.Equal(got, want) {
		t.Errorf("after four writers at once: %q", got)
	}
}

func testIdentity(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	if _, err := s.AddCMSOption(t.Context(), "card-serial-number=X"); err != nil {
		t.Fatal(err)
	}
	got, err := s.Identity()
	want := ovsdb.Identity{
		SystemID: "chassis-dpu1", Hostname: "dpu1.example", CMSOptions: []string{"card-serial-number=X"}, Bridges: []string{"br-ex", "br-int"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ovsdb.Identity{}, "Version")); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func testReadBack(t *testing.T, c card) {
	s := openSwitch(t, c.endpoint)
	for i := range 50 {
		port := fmt.Sprintf("port%d", i)
		mustPlug(t, s, attach(fmt.Sprintf("rep%d", i), port, 1))
		list, err := s.Interfaces()
		if err != nil || len(list) != i+1 {
			t.Fatalf("after %d orders: %d interfaces, %v", i+1, len(list), err)
		}
	}
}
