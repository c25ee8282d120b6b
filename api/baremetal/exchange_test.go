package baremetal_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// exchange is a request of testdata/exchanges.txt and the answer it has to get.
type exchange struct {
	line          int
	setup         []string // directives before it
	version       string
	method, path  string
	body          string
	status        int
	location      string
	want, contain string
}

func readExchanges(t *testing.T) []exchange {
	t.Helper()
	f, err := os.Open("testdata/exchanges.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []exchange
	var setup []string
	var e *exchange
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		sign, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "":
			e = nil
		case sign == "!":
			setup = append(setup, rest)
		case sign == ">" && e == nil:
			part := strings.SplitN(rest, " ", 3)
			all = append(all, exchange{line: n, setup: setup, version: part[0], method: part[1], path: part[2]})
			e, setup = &all[len(all)-1], nil
		case sign == ">":
			e.body = rest
		case sign == "<" && e.status == 0:
			status, location, _ := strings.Cut(rest, " ")
			e.location = location
			if e.status, err = strconv.Atoi(status); err != nil {
				t.Fatalf("line %d: %v", n, err)
			}
		case sign == "<" && strings.HasPrefix(rest, "~ "):
			e.contain = rest[2:]
		case sign == "<":
			e.want = rest
		}
	}
	return all
}

// script plays exchanges and keeps what the names in them stand for.
type script struct {
	*server
	uuids map[string]string // U1 -> UUID
}

var (
	uuidName = regexp.MustCompile(`\bU\d+\b`)
	uuidText = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timeText = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$`)
)

// fill puts UUIDs in the place of their names.
func (s *script) fill(text string) string {
	return uuidName.ReplaceAllStringFunc(text, func(name string) string {
		if id, ok := s.uuids[name]; ok {
			return id
		}
		return name
	})
}

// match reports whether got is what want, with its names, stands for. Names that stand for nothing yet get their meaning.
func (s *script) match(want, got string) bool {
	if want == "T" {
		return timeText.MatchString(got)
	}
	want = strings.ReplaceAll(s.fill(want), "H/", "http://api.example:6385/")
	name := uuidName.FindString(want)
	if name == "" {
		return want == got
	}
	before, _, _ := strings.Cut(want, name)
	if !strings.HasPrefix(got, before) {
		return false
	}
	id := uuidText.FindString(got[len(before):])
	if id == "" || slices.Contains(slices.Collect(maps.Values(s.uuids)), id) {
		return false
	}
	s.uuids[name] = id
	return s.match(want, got)
}

// differ says how got differs from want, or nothing.
func (s *script) differ(at string, want, got any) string {
	switch want := want.(type) {
	case string:
		if g, ok := got.(string); ok && s.match(want, g) {
			return ""
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			break
		}
		for i := range want {
			if d := s.differ(fmt.Sprintf("%s[%d]", at, i), want[i], g[i]); d != "" {
				return d
			}
		}
		return ""
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for _, k := range slices.Sorted(maps.Keys(want)) {
			v, ok := g[k]
			if !ok {
				return at + "." + k + " is missing"
			}
			if d := s.differ(at+"."+k, want[k], v); d != "" {
				return d
			}
		}
		for k := range g {
			if _, ok := want[k]; !ok {
				return at + "." + k + " is too much"
			}
		}
		return ""
	default:
		if want == got {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v, want %v", at, got, want)
}

var setting = regexp.MustCompile(`(\w+)=("(?:[^"]*)"|\S+)`)

// carryOut does what a directive says.
func (s *script) carryOut(directive string) {
	s.Helper()
	subject, rest, _ := strings.Cut(directive, " ")
	if subject == "event" {
		s.event(rest)
		return
	}
	s.edit(s.uuids[subject], func(n *node.Node) {
		for _, m := range setting.FindAllStringSubmatch(rest, -1) {
			value := s.fill(strings.Trim(m[2], `"`))
			switch m[1] {
			case "provision_state":
				n.Provision = node.State(value)
			case "target_provision_state":
				n.TargetProvision = node.State(value)
			case "power_state":
				n.Power = node.PowerState(value)
			case "target_power_state":
				n.TargetPower = node.PowerState(value)
			case "provision_updated_at":
				n.ProvisionUpdatedAt = time.Now()
			case "reservation":
				n.Reservation = value
			case "last_error":
				n.LastError = value
			default:
				s.Fatalf("! %s: %s is not known", directive, m[1])
			}
		}
	})
}

func (s *script) event(text string) {
	s.Helper()
	p := strings.SplitN(text, " ", 6)
	err := s.db.Write(s.Context(), func(tx *store.Tx) error {
		return tx.InsertEvent(s.Context(), &store.Event{
			UUID: uuid.NewString(), Node: s.uuids[p[0]], Severity: p[1], Type: p[2], State: node.State(p[3]), Target: node.State(p[4]),
			Text: s.fill(strings.Trim(p[5], `"`)), Conductor: host,
		})
	})
	if err != nil {
		s.Fatal(err)
	}
}

func TestAnswersAreThoseOfTheReference(t *testing.T) {
	s := &script{server: newServer(t).idle(), uuids: map[string]string{}}
	for _, e := range readExchanges(t) {
		for _, d := range e.setup {
			s.carryOut(d)
		}
		var body any
		if e.body != "" {
			body = s.fill(e.body)
		}
		a := at(t, s, e.version, e.method, s.fill(e.path), body)
		where := fmt.Sprintf("exchanges.txt:%d: %s %s", e.line, e.method, e.path)
		if a.status != e.status {
			t.Fatalf("%s: status %d, want %d: %s", where, a.status, e.status, a.text)
		}
		if !s.match(e.location, a.header.Get("Location")) {
			t.Errorf("%s: Location %q, want %q", where, a.header.Get("Location"), e.location)
		}
		if text := strings.ReplaceAll(s.fill(e.contain), "H/", "http://api.example:6385/"); !strings.Contains(a.text, text) && !strings.Contains(a.fault(), text) {
			t.Errorf("%s: the answer has no %s:\n%s", where, text, a.text)
		}
		if e.want == "" {
			continue
		}
		got := a.value
		if o := a.object(); o["error_message"] != nil {
			var inner any
			if err := json.Unmarshal([]byte(o["error_message"].(string)), &inner); err != nil {
				t.Errorf("%s: error_message is not JSON: %v", where, err)
			}
			o["error_message"] = inner
		}
		var want any
		if err := json.Unmarshal([]byte(e.want), &want); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if d := s.differ("", want, got); d != "" {
			t.Errorf("%s: %s", where, d)
		}
	}
}
