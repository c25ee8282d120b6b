package pci_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/riser-project/riser/pci"
)

func TestParseSpecRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, in, err string
	}{
		{"an empty text", ``, "not JSON"},
		{"a number", `7`, "object or a list"},
		{"a string", `"15b3"`, "object or a list"},
		{"null", `null`, "object or a list"},
		{"a list of strings", `["a"]`, "rule 1: want a JSON object"},
		{"a second value", `{} {}`, "text after"},
		{"text after a list", `[{}] x`, "text after"},
		{"an object cut short", `{"vendor_id":"15b3"`, "unexpected EOF"},
		{"a list cut short", `[{}`, "unexpected EOF"},
		{"a key twice", `{"vendor_id":"15b3","vendor_id":"8086"}`, `"vendor_id" occurs twice`},
		{"a vendor that is no hex", `{"vendor_id":"xyz"}`, `"vendor_id": PCI identifier "xyz": is not a hex number`},
		{"a vendor with a sign", `{"vendor_id":"-1"}`, "not a hex number"},
		{"a product above FFFF", `{"product_id":"10000"}`, `"product_id": PCI identifier "10000": is greater than the largest allowed value FFFF`},
		{"a product far above FFFF", `{"product_id":"ffffffffffffffffffff"}`, "greater than"},
		{"a product as a number", `{"product_id":1018}`, "string of hex digits"},
		{"an empty vendor", `{"vendor_id":""}`, "not a hex number"},
		{"devname beside address", `{"devname":"eth0","address":"0000:82:00.0"}`, "exclude each other"},
		{"an empty devname", `{"devname":""}`, "is empty"},
		{"an address with four colons", `{"address":"0:0000:82:00.0"}`, "more than three parts"},
		{"a domain above FFFF", `{"address":"10000:82:00.0"}`, `domain "10000" is greater than the largest allowed value FFFF`},
		{"a bus above FF", `{"address":"0000:100:00.0"}`, `bus "100" is greater than the largest allowed value FF`},
		{"a slot above 1F", `{"address":"0000:82:20.0"}`, `slot "20" is greater than the largest allowed value 1F`},
		{"a function above 7", `{"address":"0000:82:00.8"}`, `function "8" is greater than the largest allowed value 7`},
		{"a glob within a part", `{"address":"0000:8*:00.0"}`, `bus "8*" is not a hex number`},
		{"an address as a list", `{"address":["0000"]}`, "want a string such as"},
		{"an address of null", `{"address":null}`, "want a string such as"},
		{"an unknown part of an address", `{"address":{"buss":"82"}}`, `unknown part "buss"`},
		{"a part of an address that is a number", `{"address":{"bus":82}}`, "bus: want a string"},
		{"a part of an address twice", `{"address":{"bus":"82","bus":"83"}}`, "occurs twice"},
		{"an expression with a fault", `{"address":{"bus":"(82"}}`, "bus: missing closing )"},
		{"an expression that closes what it did not open", `{"address":{"bus":"8)|(9"}}`, "bus: unexpected )"},
		{"a lookahead, which RE2 has not", `{"address":{"bus":"(?=8)"}}`, "bus: invalid"},
		{"yes as a boolean", `{"remote_managed":"yes"}`, `"remote_managed": want true or false, not "yes"`},
		{"1 as a boolean", `{"remote_managed":1}`, "want true or false, not 1"},
		{"on as a boolean", `{"managed":"on"}`, `"managed": want true or false`},
		{"null as a boolean", `{"trusted":null}`, `"trusted": want true or false`},
		{"a blank in a boolean", `{"live_migratable":"true "}`, `"live_migratable": want true or false`},
		{"an empty boolean", `{"one_time_use":""}`, `"one_time_use": want true or false`},
		{"a physical network that is a number", `{"physical_network":1}`, "or null for an overlay network"},
		{"an empty physical network", `{"physical_network":""}`, "or null for an overlay network"},
		{"a tag that is no string", `{"group":7}`, `"group": is a free tag, and a tag wants a string`},
		{"a tag of null", `{"group":null}`, "a tag wants a string"},
		{"traits as a list", `{"traits":["A"]}`, "separated by commas"},
		{"a trait that is too long", `{"traits":"` + strings.Repeat("A", 256) + `"}`, "1 to 255"},
		{"an empty resource class", `{"resource_class":""}`, "1 to 255"},
		{"the second rule, by its number", `[{},{"managed":"x"}]`, "rule 2: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			specs, err := pci.ParseSpec([]byte(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %+v, %v; want an error with %q", specs, err, tt.err)
			}
		})
	}
}

func TestParseSpecReadsEveryKey(t *testing.T) {
	specs, err := pci.ParseSpec([]byte(`[
		{"vendor_id":"0x15B3","product_id":"*","address":"0000:82:*.*","physical_network":"physnet1","trusted":"True","managed":false,
		 "live_migratable":"false","one_time_use":true,"resource_class":"gpu-a","traits":" CUSTOM_A ,, hw_b","group":"blue"},
		{"devname":"enp3s0f0np0","physical_network":null,"remote_managed":"true"},
		{}]`))
	if err != nil {
		t.Fatal(err)
	}
	s := specs[0]
	if s.Vendor == nil || *s.Vendor != 0x15b3 || s.Product != nil || s.Address.String() != "0000:82:*.*" || s.PhysicalNetwork != "physnet1" || !s.Trusted || s.Managed ||
		s.LiveMigratable == nil || *s.LiveMigratable || !s.OneTimeUse || s.ResourceClass != "GPU_A" || !slices.Equal(s.Traits, []string{"CUSTOM_A", "HW_B"}) ||
		len(s.Tags) != 1 || s.Tags["group"] != "blue" || s.RemoteManaged {
		t.Errorf("first rule read as %+v", s)
	}
	if s := specs[1]; s.Devname != "enp3s0f0np0" || s.PhysicalNetwork != "" || !s.RemoteManaged || !s.Managed || s.LiveMigratable != nil {
		t.Errorf("second rule read as %+v", s)
	}
	if s := specs[1]; s.Text != `{"devname":"enp3s0f0np0","physical_network":null,"remote_managed":"true"}` {
		t.Errorf("the rule's text is %s", s.Text)
	}
	if s := specs[2]; s.Vendor != nil || s.Address != nil || s.Devname != "" || !s.Managed || s.RemoteManaged || s.Trusted || s.OneTimeUse || s.Tags != nil {
		t.Errorf("the empty rule read as %+v", s)
	}
}

// spec reads one rule.
func spec(t testing.TB, text string) *pci.Spec {
	t.Helper()
	specs, err := pci.ParseSpec([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &specs[0]
}

func TestAddressPatterns(t *testing.T) {
	for _, tt := range []struct {
		name, pattern string
		matches       []string
		not           []string
	}{
		{"stars match anything", `"*:*:*.*"`, []string{"0000:82:00.0", "10000:01:1f.7"}, nil},
		{"an empty text matches anything", `""`, []string{"0000:82:00.0"}, nil},
		{"a full address matches itself", `"0000:82:00.3"`, []string{"0000:82:00.3"}, []string{"0000:82:00.2", "0001:82:00.3", "0000:82:01.3", "0000:83:00.3"}},
		{"a bus alone in the middle", `":82:"`, []string{"0000:82:00.0", "0001:82:1f.7"}, []string{"0000:83:00.0"}},
		{"a bus and a slot", `"82:01"`, []string{"0000:82:01.0", "0005:82:01.6"}, []string{"0000:82:00.0", "0000:01:02.0"}},
		{"a slot alone", `"1f"`, []string{"0000:82:1f.0"}, []string{"0000:1f:00.0"}},
		{"a function alone", `".1"`, []string{"0000:82:00.1"}, []string{"0000:82:00.0"}},
		{"digits without leading zeros", `"0:2:0.0"`, []string{"0000:02:00.0"}, []string{"0000:20:00.0"}},
		{"blanks around parts", `" 0000 : 82 : 00 . * "`, []string{"0000:82:00.5"}, []string{"0000:83:00.5"}},
		{"upper case", `"0000:AF:*.*"`, []string{"0000:af:00.0"}, []string{"0000:ae:00.0"}},
		{"an expression for the bus", `{"bus":"8[23]"}`, []string{"0000:82:00.0", "0001:83:00.0"}, []string{"0000:84:00.0"}},
		{"an expression is a prefix", `{"bus":"8"}`, []string{"0000:82:00.0", "0000:8f:00.0"}, []string{"0000:08:00.0"}},
		{"an expression can be ended", `{"bus":"8$"}`, nil, []string{"0000:82:00.0", "0000:08:00.0"}},
		{"an alternative is anchored as a whole", `{"bus":"01|82"}`, []string{"0000:01:00.0", "0000:82:00.0"}, []string{"0000:28:00.0"}},
		{"all parts", `{"domain":"0000","bus":"82","slot":"00","function":"[3-6]"}`, []string{"0000:82:00.3", "0000:82:00.6"}, []string{"0000:82:00.0", "0000:82:00.7"}},
		{"an empty object matches anything", `{}`, []string{"0000:82:00.0"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := spec(t, `{"address":`+tt.pattern+`}`).Address
			for _, a := range tt.matches {
				if !p.Match(addr(t, a)) {
					t.Errorf("%s does not match %s", p, a)
				}
			}
			for _, a := range tt.not {
				if p.Match(addr(t, a)) {
					t.Errorf("%s matches %s", p, a)
				}
			}
		})
	}
}

func TestARuleSaysWhatIsEasilyMisunderstood(t *testing.T) {
	for in, want := range map[string]string{
		`{"address":{"bus":"8"}}`:                        `address bus "8" is matched at the start only, so it also matches 16 values such as 80 and 8f; end it with $`,
		`{"address":{"bus":"82"}}`:                       "",
		`{"address":{"bus":"8."}}`:                       "",
		`{"address":{"slot":"0|1f"}}`:                    `address slot "0|1f" is matched at the start only, so it also matches 16 values such as 00 and 0f`,
		`{"address":{"domain":"000"}}`:                   `address domain "000" is matched at the start only, so it also matches 16 values such as 0000 and 000f`,
		`{"address":"0000:82:00.0"}`:                     "",
		`{"physical_network":"p","remote_managed":true}`: `serves only ports of that physical network`,
	} {
		notes := strings.Join(spec(t, in).Notes, "\n")
		if !strings.Contains(notes, want) || want == "" && notes != "" {
			t.Errorf("%s has notes %q; want %q", in, notes, want)
		}
	}
}

// machine is a host with a card of two PFs with four VFs each, and a card whose serial number is a placeholder.
func machine(t testing.TB) []pci.Function {
	t.Helper()
	return pci.NewHost(slices.Concat(
		found(t, "0000:82:00.0", "MT2113X00042", uuidA, 3, 4), found(t, "0000:82:00.1", "MT2113X00042", uuidA, 7, 4), found(t, "0000:31:00.0", "N/A", "", 3, 1),
		[]pci.Found{{Function: pci.Function{Address: addr(t, "0000:01:00.0"), Vendor: 0x8086, Product: 0x1521, NUMA: -1, Netdev: "eno1"}}},
	)).Functions
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		name, spec, function string
		want                 bool
		reason               string
	}{
		{"the usual rule matches a VF", `{"vendor_id":"15b3","product_id":"101e","address":"0000:82:*.*","physical_network":null,"remote_managed":"true"}`, "0000:82:00.3", true, "address 0000:82:*.* matches, remote-managed by card MT2113X00042"},
		{"VF 0 of the second PF matches too", `{"vendor_id":"15b3","product_id":"101e","remote_managed":true}`, "0000:82:01.0", true, "any matches"},
		{"another vendor does not match", `{"vendor_id":"8086"}`, "0000:82:00.3", false, "its vendor is 15b3, not 8086"},
		{"another product does not match", `{"product_id":"101e"}`, "0000:82:00.0", false, "its product is a2dc, not 101e"},
		{"another address does not match", `{"address":"0000:83:*.*"}`, "0000:82:00.3", false, "its address does not match 0000:83:*.*"},
		{"the address of a PF matches the PF", `{"address":"0000:82:00.0"}`, "0000:82:00.0", true, "address 0000:82:00.0 matches"},
		{"the address of a PF matches its VFs", `{"address":"0000:82:00.0"}`, "0000:82:00.4", true, "it is a VF of 0000:82:00.0"},
		{"the address of a PF does not match another PF's VFs", `{"address":"0000:82:00.0"}`, "0000:82:01.0", false, "does not match"},
		{"a pattern that covers the PF does not cover its VFs", `{"address":"0000:82:00.*"}`, "0000:82:01.1", false, "does not match"},
		{"the address of a VF matches it alone", `{"address":"0000:82:00.4"}`, "0000:82:00.5", false, "does not match"},
		{"a devname matches its PF", `{"devname":"enp0000:82:00.0"}`, "0000:82:00.0", true, "it is network device"},
		{"a devname matches the PF's VFs", `{"devname":"enp0000:82:00.0"}`, "0000:82:00.3", true, "it is a VF of network device"},
		{"another devname does not match", `{"devname":"eno1"}`, "0000:82:00.3", false, "not network device eno1"},
		{"a PF is never remote-managed", `{"remote_managed":true}`, "0000:82:00.0", false, "a PF is never remote-managed"},
		{"a function without SR-IOV is never remote-managed", `{"remote_managed":true}`, "0000:01:00.0", false, "only a VF"},
		{"a card without serial number is not remote-managed, and said so", `{"remote_managed":true}`, "0000:31:00.3", false, `needs its card's serial number: no serial number: 0000:31:00.0: serial number "N/A" is a placeholder`},
		{"a card without serial number can be had otherwise", `{"address":"0000:31:*.*"}`, "0000:31:00.3", true, "matches"},
		{"a prefix match is shown as the object it is", `{"address":{"bus":"8"}}`, "0000:82:00.3", true, `address {"bus":"8"} matches`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := machine(t)
			i := slices.IndexFunc(host, func(f pci.Function) bool { return f.Address == addr(t, tt.function) })
			ok, reason := spec(t, tt.spec).Match(host[i])
			if ok != tt.want || !strings.Contains(reason, tt.reason) {
				t.Fatalf("got %v, %q; want %v, %q", ok, reason, tt.want, tt.reason)
			}
		})
	}
}

func TestRulesAreCheckedAgainstTheHost(t *testing.T) {
	for _, tt := range []struct {
		name, spec, err string
	}{
		{"a rule of patterns is good anywhere", `{"vendor_id":"15b3","product_id":"101e","address":"0000:82:*.*","remote_managed":true}`, ""},
		{"one PF with its VFs' product is good", `{"vendor_id":"15b3","product_id":"101e","address":"0000:82:00.0","remote_managed":true}`, ""},
		{"a PF by devname with its VFs' product is good", `{"product_id":"101e","devname":"enp0000:82:00.0","remote_managed":true}`, ""},
		{"a single VF is good", `{"address":"0000:82:00.3","remote_managed":true}`, ""},
		{"a single address that is not there is good", `{"address":"0000:99:00.3","remote_managed":true}`, ""},
		{"one PF with its own product is refused", `{"product_id":"a2dc","address":"0000:82:00.0","remote_managed":true}`, "a PF is never remote-managed: product_id a2dc is that of PF 0000:82:00.0, not of its VFs, which is 101e"},
		{"one PF with any product is refused", `{"address":"0000:82:00.0","remote_managed":true}`, "a PF is never remote-managed: PF 0000:82:00.0 needs the product_id of its VFs, which is 101e"},
		{"one PF with a product of neither is refused", `{"product_id":"1018","address":"0000:82:00.0","remote_managed":true}`, "product_id 1018 is not that of the VFs of PF 0000:82:00.0"},
		{"one PF with another vendor is refused", `{"vendor_id":"8086","product_id":"101e","address":"0000:82:00.0","remote_managed":true}`, "vendor_id is 8086, but PF 0000:82:00.0 has 15b3"},
		{"a devname that is not there is refused", `{"devname":"eth9","remote_managed":true}`, "no network device eth9"},
		{"a devname that is not there is good if not remote-managed", `{"devname":"eth9"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := pci.ParseRules([]byte(tt.spec))
			if err != nil {
				t.Fatal(err)
			}
			err = rules.Check(machine(t))
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("Check says %v; want %q", err, tt.err)
			}
		})
	}
}

func TestTheFirstRuleThatMatchesWins(t *testing.T) {
	rules, err := pci.ParseRules([]byte(`{"vendor_id":"8086"}`), []byte(`[{"product_id":"101e","remote_managed":true},{"vendor_id":"15b3"}]`))
	if err != nil {
		t.Fatal(err)
	}
	host := machine(t)
	rule := map[string]int{}
	for _, f := range host {
		v := rules.Match(f)
		rule[f.Address.String()] = v.Rule
		if (v.Spec == nil) != (v.Rule == 0) || v.Reason == "" {
			t.Errorf("%s: %+v", f.Address, v)
		}
	}
	for a, want := range map[string]int{"0000:01:00.0": 1, "0000:82:00.0": 3, "0000:82:00.3": 2, "0000:31:00.3": 3} {
		if rule[a] != want {
			t.Errorf("%s falls under rule %d; want %d", a, rule[a], want)
		}
	}
	v := rules[:2].Match(host[1])
	if v.Rule != 0 || !strings.Contains(v.Reason, "rule 1: its vendor is 15b3, not 8086; rule 2: its product is") {
		t.Errorf("no match is told as %q", v.Reason)
	}
	if v := (pci.Rules{}).Match(host[0]); !strings.Contains(v.Reason, "no device_spec rules") {
		t.Errorf("no rules are told as %q", v.Reason)
	}
	if _, err := pci.ParseRules([]byte(`{}`), []byte(`{"managed":3}`)); err == nil || !strings.Contains(err.Error(), "value 2: device_spec: rule 1") {
		t.Errorf("the bad value is told as %v", err)
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, seed := range []string{
		`{"vendor_id":"15b3","product_id":"101e","address":"0000:82:*.*","physical_network":null,"remote_managed":"true"}`,
		`[{"address":{"domain":"0000","bus":"8[23]","slot":".*","function":"[0-7]"}},{"devname":"eth0","trusted":true}]`,
		`{"address":":82:.","traits":"A,B","resource_class":"x","group":"\u0000"}`,
		`[[]]`, `{"address":{"bus":"(a|b)*)("}}`,
	} {
		f.Add([]byte(seed))
	}
	host := machine(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		specs, err := pci.ParseSpec(data)
		if err != nil {
			return
		}
		for _, s := range specs {
			again, err := pci.ParseSpec([]byte(s.Text))
			if err != nil || len(again) != 1 || again[0].Text != s.Text {
				t.Fatalf("%s reads again as %+v, %v", s.Text, again, err)
			}
			for _, fn := range host {
				ok, reason := s.Match(fn)
				if reason == "" || ok && s.RemoteManaged && (fn.Kind != pci.VF || fn.NoSerial() != nil) {
					t.Fatalf("%s matches %s: %v, %q", s.Text, fn.Address, ok, reason)
				}
			}
		}
	})
}
