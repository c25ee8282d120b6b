package rest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
)

type href struct{ to string }

func (h *href) AppendJSON(b []byte) []byte { return rest.AppendString(b, "to "+h.to) }

type kind string

type thing struct {
	Name    string         `json:"name"`
	Owner   string         `json:"owner" since:"5" zero:"null"`
	Kind    kind           `json:"kind" zero:"null"`
	Count   int            `json:"count"`
	Big     int64          `json:"big"`
	On      bool           `json:"on"`
	Maybe   *bool          `json:"maybe"`
	At      time.Time      `json:"at"`
	Extra   map[string]any `json:"extra"`
	Traits  []string       `json:"traits" since:"7"`
	Free    any            `json:"free"`
	Link    href           `json:"link"`
	Links   []href         `json:"links" with:"all"`
	private string
	Hidden  string
}

var things = rest.NewView[thing]()

func show(t *testing.T, v *thing, version int, names ...string) string {
	t.Helper()
	p, err := things.Plan(version, names...)
	if err != nil {
		t.Fatal(err)
	}
	b := p.Append(nil, v)
	if !json.Valid(b) {
		t.Fatalf("not JSON: %s", b)
	}
	return string(b)
}

func TestAViewShowsWhatItsTagsSay(t *testing.T) {
	yes := true
	full := thing{
		Name: "n", Owner: "o", Kind: "k", Count: -1, Big: 1 << 40, On: true, Maybe: &yes, At: time.Date(2026, 11, 20, 16, 48, 53, 41236000, time.UTC),
		Extra: map[string]any{"b": 1.5, "a": []any{nil, "x", true, map[string]any{}}}, Traits: []string{"T"}, Free: 3.0, Link: href{"a"},
		Links: []href{{"b"}, {"c"}}, private: "p", Hidden: "h",
	}
	for name, c := range map[string]struct {
		v       thing
		version int
		names   []string
		want    string
	}{
		"everything": {full, 9, nil, `{"name":"n","owner":"o","kind":"k","count":-1,"big":1099511627776,"on":true,"maybe":true,"at":"2026-11-20T16:48:53.041236+00:00",` +
			`"extra":{"a":[null,"x",true,{}],"b":1.5},"traits":["T"],"free":3,"link":"to a","links":["to b","to c"]}`},
		"nothing": {thing{}, 9, nil, `{"name":"","owner":null,"kind":null,"count":0,"big":0,"on":false,"maybe":null,"at":null,"extra":{},"traits":[],"free":null,` +
			`"link":"to ","links":[]}`},
		"an older version":            {thing{}, 4, nil, `{"name":"","kind":null,"count":0,"big":0,"on":false,"maybe":null,"at":null,"extra":{},"free":null,"link":"to ","links":[]}`},
		"named fields, in order":      {full, 9, []string{"traits", "name"}, `{"traits":["T"],"name":"n"}`},
		"a field named twice":         {full, 9, []string{"name", "name"}, `{"name":"n"}`},
		"a time without microseconds": {thing{At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}, 9, []string{"at"}, `{"at":"2026-01-02T02:04:05+00:00"}`},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, show(t, &c.v, c.version, c.names...)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAPlanRefusesFieldsThatAreNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		field string
		kind  fault.Kind
	}{
		"no field":                   {"bogus", fault.Invalid},
		"a field of another answer":  {"links", fault.Invalid},
		"a field of the program":     {"Hidden", fault.Invalid},
		"a field of a later version": {"traits", fault.NotAcceptable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := things.Plan(6, "name", c.field)
			if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.field) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAViewTellsItsFields(t *testing.T) {
	if since, ok := things.Since("traits"); since != 7 || !ok {
		t.Error(since, ok)
	}
	if _, ok := things.Since("bogus"); ok {
		t.Error("bogus is a field")
	}
	if got := strings.Join(things.Names(), " "); got != "name owner kind count big on maybe at extra traits free link links" {
		t.Error(got)
	}
	p, err := things.Plan(9, "name")
	if err != nil || !p.Has("name") || p.Has("kind") {
		t.Error(p, err)
	}
}

func TestAWrongTagStopsTheStart(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	rest.NewView[struct {
		A string `json:"a" since:"new"`
	}]()
}

func TestFieldsAreReadWithoutBlanks(t *testing.T) {
	if d := cmp.Diff([]string{"uuid", "name"}, rest.SplitFields(" UUID,,name ,")); d != "" {
		t.Error(d)
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", `"\/`, "\x00\x1f\x7f", "é\u2028\U0001f600", "\xff\xc3", "a\xffb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(rest.AppendString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(string([]rune(s)), "\ufffd"); got != want {
			t.Errorf("%q became %q", want, got)
		}
	})
}

func FuzzAppendValue(f *testing.F) {
	for _, s := range []string{"null", `{"a":[1,2.5,-1e300,true,null,"x"],"b":{}}`, "9007199254740993", `[[[[]]]]`, "-0", "1e-7"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var v, again any
		if json.Unmarshal(text, &v) != nil {
			t.Skip()
		}
		b := rest.AppendValue(nil, v)
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if d := cmp.Diff(v, again); d != "" {
			t.Error(d)
		}
	})
}
