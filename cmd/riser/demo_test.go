package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/demo"
)

// different is what differs from run to run: addresses, times, identifiers, and the width of tables that follows from them.
var different = []struct {
	form *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`Logical_Switch_Port [0-9a-f]{8}`), "Logical_Switch_Port UUID"},
	{regexp.MustCompile(`fa:16:3e(:[0-9a-f]{2}){3}`), "MAC"},
	{regexp.MustCompile(`ovn-installed-ts:\d+`), "ovn-installed-ts:TIME"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d`), "TIME"},
	{regexp.MustCompile(`unix:\S+/`), "unix:DIR/"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?(ms|s)\b`), "TIME"},
	{regexp.MustCompile(`[ ─┬┼┴┌┐└┘├┤]+`), " "},
}

// retold is the lines of a transcript without what differs from run to run, and without the evidence, which is what a machine happened to show.
func retold(transcript string) []string {
	var lines []string
	for _, l := range strings.Split(transcript, "\n") {
		if strings.HasPrefix(l, "       ") {
			continue
		}
		for _, d := range different {
			l = d.form.ReplaceAllString(l, d.is)
		}
		lines = append(lines, strings.TrimSpace(l))
	}
	return lines
}

func TestTheDemoIsAsTheREADMETells(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(readme), "<!-- transcript of riser demo, checked by cmd/riser/demo_test.go -->\n```\n")
	want, _, ended := strings.Cut(after, "\n```\n")
	if !ok || !ended {
		t.Fatal("README.md has no transcript")
	}
	var out bytes.Buffer
	if err := demo.Run(t.Context(), demo.Options{Out: &out, Serve: serveDemo}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	got := strings.TrimSuffix(out.String(), "\n")
	if d := cmp.Diff(retold(want), retold(got)); d != "" {
		t.Errorf("the transcript in README.md is not what riser demo prints (-README +demo):\n%s\nriser demo printed:\n%s", d, got)
	}
}

func TestTheDemoForMachines(t *testing.T) {
	var out bytes.Buffer
	if err := demo.Run(t.Context(), demo.Options{Out: &out, JSON: true, Serve: serveDemo}); err != nil {
		t.Fatal(err)
	}
	events := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var e struct {
			At    float64 `json:"at"`
			Event string  `json:"event"`
			Text  string  `json:"text"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events[e.Event]++
	}
	for event, n := range map[string]int{"act": 5, "tree": 1, "failed as it should": 1, "plugged": 1, "summary": 6, "error": 0} {
		if events[event] != n {
			t.Errorf("%d events %q, want %d (all: %v)", events[event], event, n, events)
		}
	}
}
