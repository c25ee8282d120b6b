package pci_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/riser-project/riser/pci"
)

func addr(t testing.TB, s string) pci.Address {
	t.Helper()
	a, err := pci.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct {
		name, in, want, err string
	}{
		{name: "an address as Linux writes it is read", in: "0000:82:00.3", want: "0000:82:00.3"},
		{name: "upper case becomes lower case", in: "00AB:FF:1F.7", want: "00ab:ff:1f.7"},
		{name: "a domain behind a VMD controller has five digits", in: "10000:01:00.0", want: "10000:01:00.0"},
		{name: "the largest domain has eight digits", in: "ffffffff:ff:1f.7", want: "ffffffff:ff:1f.7"},
		{name: "the zero address is valid", in: "0000:00:00.0", want: "0000:00:00.0"},
		{name: "a short form without domain is refused", in: "82:00.3", err: "wrong form"},
		{name: "an empty text is refused", in: "", err: "wrong form"},
		{name: "slot 20 does not exist", in: "0000:82:20.0", err: "slot"},
		{name: "function 8 does not exist", in: "0000:82:00.8", err: "function"},
		{name: "a blank behind is refused", in: "0000:82:00.3 ", err: "wrong form"},
		{name: "a newline behind is refused", in: "0000:82:00.3\n", err: "wrong form"},
		{name: "a sign is no hex digit", in: "+000:82:00.3", err: "hex"},
		{name: "a letter beyond f is no hex digit", in: "0000:8g:00.3", err: "hex"},
		{name: "a padded long domain is refused", in: "00000:82:00.3", err: "leading zero"},
		{name: "a domain of nine digits is refused", in: "100000000:82:00.3", err: "wrong form"},
		{name: "a dot in place of a colon is refused", in: "0000.82:00.3", err: "wrong form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := pci.ParseAddress(tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, %v; want an error with %q", a, err, tt.err)
				}
				return
			}
			if err != nil || a.String() != tt.want {
				t.Fatalf("got %v, %v; want %s", a, err, tt.want)
			}
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("0000:82:00.3")
	f.Add("10000:ff:1f.7")
	f.Add("0000:82:0.3")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := pci.ParseAddress(s)
		if err != nil {
			return
		}
		if a.String() != strings.ToLower(s) {
			t.Fatalf("%q reads as %s", s, a)
		}
	})
}

func TestAddressesCompareAndCompute(t *testing.T) {
	pf := addr(t, "0000:82:00.0")
	for n, want := range map[int]string{3: "0000:82:00.3", 8: "0000:82:01.0", 128: "0000:82:10.0", 256: "0000:83:00.0", -1: "0000:81:1f.7"} {
		if got, ok := pf.Offset(n); !ok || got.String() != want {
			t.Errorf("%s offset by %d is %s, %v; want %s", pf, n, got, ok, want)
		}
	}
	if a, ok := addr(t, "0000:ff:1f.7").Offset(1); ok {
		t.Errorf("an offset past the end of a domain gave %s", a)
	}
	sorted := []pci.Address{addr(t, "0000:02:00.0"), addr(t, "0000:02:00.1"), addr(t, "0000:10:00.0"), addr(t, "0001:00:00.0"), addr(t, "10000:00:00.0")}
	shuffled := []pci.Address{sorted[3], sorted[1], sorted[4], sorted[0], sorted[2]}
	slices.SortFunc(shuffled, pci.Address.Compare)
	if !slices.Equal(sorted, shuffled) {
		t.Errorf("sorted to %v", shuffled)
	}
}

func TestTextForms(t *testing.T) {
	type form struct {
		Address pci.Address         `json:"address"`
		Kind    pci.Kind            `json:"kind"`
		ID      pci.ID              `json:"id"`
		By      map[pci.Address]int `json:"by"`
	}
	want := `{"address":"0000:82:00.3","kind":"vf","id":"101e","by":{"0000:82:00.0":1}}`
	var v form
	if err := json.Unmarshal([]byte(`{"address":"0000:82:00.3","kind":"vf","id":"0x101E","by":{"0000:82:00.0":1}}`), &v); err != nil {
		t.Fatal(err)
	}
	if v.Kind != pci.VF || v.ID != 0x101e {
		t.Errorf("read %+v", v)
	}
	if got, err := json.Marshal(v); err != nil || string(got) != want {
		t.Errorf("wrote %s, %v; want %s", got, err, want)
	}
	for _, bad := range []string{`{"kind":"VF"}`, `{"kind":""}`, `{"id":"10000"}`, `{"id":""}`, `{"id":"-1"}`, `{"address":"82:00.0"}`} {
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	if _, err := json.Marshal(pci.Kind(9)); err == nil {
		t.Error("a kind that is none was written")
	}
}
