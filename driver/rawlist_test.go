package driver_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

func TestRawListOfAProfile(t *testing.T) {
	own, err := driver.ParseRawRules([]string{"acme:0x30 0x70 0x66", "0x3a 0x01"})
	if err != nil {
		t.Fatal(err)
	}
	list := driver.NewRawList(own...)
	tests := map[string]struct {
		profile, request string
		kind             fault.Kind // Internal when it is allowed
		says             string
	}{
		"a reading":                              {profile: "generic", request: "0x06 0x01"},
		"a chassis control":                      {profile: "generic", request: "0x00 0x02 0x03"},
		"a cold reset of the controller":         {"generic", "0x06 0x02", fault.Forbidden, `raw command 0x06 0x02 is not on the list of hardware profile "generic"`},
		"a new user":                             {"bluefield", "0x06 0x45 0x02", fault.Forbidden, "for network function 0x06: 0x01, 0x04, 0x08, 0x37, 0x42;"},
		"a card's privileges":                    {profile: "bluefield", request: "0x32 0x9b 0x01 0x01"},
		"what is generic, of a card":             {profile: "bluefield", request: "0x00 0x01"},
		"a card's command to another machine":    {"generic", "0x32 0x9b 0x01 0x01", fault.Forbidden, `which has nothing for network function 0x32; an operator adds it with --allow-raw "generic:0x32 0x9b"`},
		"a restart of the card's processor":      {profile: "bluefield", request: "0x32 0xa1 0x02"},
		"a reset of its switch, the same number": {"bluefield", "0x32 0xa1 0x03", fault.Forbidden, "0xa1 0x02"},
		"its number without data":                {"bluefield", "0x32 0xa1", fault.Forbidden, `--allow-raw "bluefield:0x32 0xa1"`},
		"a card's factory reset":                 {"bluefield", "0x32 0x66", fault.Forbidden, `--allow-raw "bluefield:0x32 0x66"`},
		"an operator's own profile":              {profile: "acme", request: "0x30 0x70 0x66 0x01"},
		"other data of it":                       {"acme", "0x30 0x70 0x67", fault.Forbidden, "0x70 0x66"},
		"an operator's rule for every machine":   {profile: "bluefield", request: "0x3a 0x01"},
		"an operator's rule in another profile":  {"bluefield", "0x30 0x70 0x66", fault.Forbidden, "bluefield"},
		"a profile that is none":                 {"nobody", "0x32 0x9a", fault.Forbidden, "nobody"},
		"an answer's network function":           {"generic", "0x07 0x01", fault.Invalid, "even"},
		"a network function out of range":        {"generic", "0x40 0x01", fault.Invalid, "0x3e"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			request, err := driver.ParseRaw(tt.request)
			if err != nil {
				t.Fatal(err)
			}
			err = list.Check(tt.profile, request)
			if tt.kind == fault.Internal && err != nil || tt.kind != fault.Internal && (!fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%v", err)
			}
		})
	}
	if diff := cmp.Diff([]string{"acme", "bluefield", "generic"}, list.Profiles()); diff != "" {
		t.Errorf("profiles (-want +got):\n%s", diff)
	}
	if err := (driver.RawList{}).Check(driver.GenericRaw, []byte{6, 1}); !fault.Is(err, fault.Forbidden) {
		t.Errorf("the empty list: %v", err)
	}
}

func TestEveryRawRuleSaysWhatItDoesAndStandsOnce(t *testing.T) {
	list := driver.NewRawList()
	seen := map[string]bool{}
	for _, r := range slices.Concat(list.Rules(driver.GenericRaw), list.Rules(driver.BlueFieldRaw)[len(list.Rules(driver.GenericRaw)):]) {
		again, err := driver.ParseRawRule(r.String())
		if err != nil || again.String() != r.String() || r.Tell == "" || seen[r.String()] {
			t.Errorf("%s (%s): %v, stands twice: %v", r, r.Tell, err, seen[r.String()])
		}
		seen[r.String()] = true
	}
}

func TestRulesThatAllowNothing(t *testing.T) {
	for _, text := range []string{"", "0x30", "0x31 0x01", "0x40 0x01", "acme:", ":0x30 0x01", "Acme Inc:0x30 0x01", "a:b:0x30 0x01", "0x30 reboot", strings.Repeat("a", 41) + ":0x30 0x01"} {
		if r, err := driver.ParseRawRule(text); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "PROFILE:") {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
	if _, err := driver.ParseRawRules([]string{"0x30 0x01", "x"}); err == nil {
		t.Error("a wrong rule after a right one is taken")
	}
}

func FuzzParseRawRule(f *testing.F) {
	f.Add("bluefield:0x32 0x92")
	f.Add("48 1 2 3")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := driver.ParseRawRule(text)
		if err != nil {
			return
		}
		again, err := driver.ParseRawRule(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%q is %s, written and read again %s, %v", text, r, again, err)
		}
		if err := driver.NewRawList(r).Check(r.Profile, append([]byte{r.NetFn, r.Command}, r.Data...)); err != nil {
			t.Errorf("%q does not allow itself: %v", text, err)
		}
	})
}
