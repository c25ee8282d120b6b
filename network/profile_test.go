package network_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

const six = `{"card_serial_number":"MT2113X00042","pci_slot":"0000:82:00.4","pci_vendor_info":"15b3:101e","pf_mac_address":"0c:42:a1:00:00:00","physical_network":null,"vf_num":0}`

func TestProfileRoundTrip(t *testing.T) {
	for name, text := range map[string]string{
		"VF number 0 is a VF number":           six,
		"nothing":                              `{}`,
		"other keys are kept":                  `{"capabilities":["switchdev"],"x":{"y":1}}`,
		"the six and capabilities go together": strings.Replace(six, `{`, `{"capabilities":["switchdev"],`, 1),
		"a physical network":                   strings.Replace(six, `null`, `"physnet1"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			var p network.Profile
			if err := json.Unmarshal([]byte(text), &p); err != nil {
				t.Fatal(err)
			}
			out, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(text, string(out)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestProfileRefuses(t *testing.T) {
	edit := func(old, new string) string { return strings.Replace(six, old, new, 1) }
	tests := map[string]struct{ text, want string }{
		"a VF number in text":     {edit(`:0}`, `:"0"}`), `Invalid binding:profile. vf_num "0" value invalid type`},
		"a VF number with a half": {edit(`:0}`, `:0.5}`), "Invalid binding:profile. vf_num 0.5 value invalid type"},
		"a negative VF number":    {edit(`:0}`, `:-1}`), `vf_num "-1" is not a VF number`},
		"a missing key":           {edit(`"vf_num":0`, `"x":0`), "are all required."},
		"a null serial":           {edit(`"MT2113X00042"`, `null`), "card_serial_number null value invalid type"},
		"an empty serial":         {edit(`MT2113X00042`, ``), `card_serial_number "" is not a serial number`},
		"a slot that is none":     {edit(`0000:82:00.4`, `82:00.4`), "is not a PCI address"},
		"a MAC that is none":      {edit(`0c:42:a1:00:00:00`, `0c:42`), "is not a MAC address"},
		"a list":                  {`[]`, "It must be an object."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var p network.Profile
			err := json.Unmarshal([]byte(tt.text), &p)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want it to contain %q", err, tt.want)
			}
		})
	}
}

func TestUnboundLeavesNothingOfTheCard(t *testing.T) {
	var p network.Profile
	if err := json.Unmarshal([]byte(strings.Replace(six, `{`, `{"capabilities":["switchdev"],"mine":1,`, 1)), &p); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(p.Unbound())
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != `{"mine":1}` {
		t.Errorf("after unbinding: %s", out)
	}
}

func FuzzProfile(f *testing.F) {
	f.Add([]byte(six))
	f.Add([]byte(`{"vf_num":"3"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p network.Profile
		if json.Unmarshal(b, &p) != nil {
			return
		}
		out, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var again network.Profile
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	})
}
