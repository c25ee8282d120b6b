package failpoint_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/failpoint"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		text string
		want map[failpoint.Point]failpoint.Action
		says string
	}{
		"nothing":                   {text: " ; ", want: map[failpoint.Point]failpoint.Action{}},
		"a kill at a point":         {text: "op.end.before=kill", want: map[failpoint.Point]failpoint.Action{"op.end.before": {Kind: failpoint.Kill}}},
		"a kill at a later visit":   {text: "op.end.after=kill@3", want: map[failpoint.Point]failpoint.Action{"op.end.after": {Kind: failpoint.Kill, Visit: 3}}},
		"an error with a strange @": {text: "op.end.after=error(a@2 b)", want: map[failpoint.Point]failpoint.Action{"op.end.after": {Kind: failpoint.Error, Text: "a@2 b"}}},
		"several": {text: "bmc.command.before=delay(2s)@2; step.run.after=stop", want: map[failpoint.Point]failpoint.Action{
			"bmc.command.before": {Kind: failpoint.Delay, Delay: 2 * time.Second, Visit: 2}, "step.run.after": {Kind: failpoint.Stop},
		}},
		"a point that there is not": {text: "op.end=kill", says: "name of a point"},
		"no action":                 {text: "op.end.before", says: "want NAME=ACTION"},
		"an unknown action":         {text: "op.end.before=explode", says: "not one of kill, stop"},
		"a delay without a time":    {text: "op.end.before=delay(soon)", says: "must be a duration"},
		"the visit before any":      {text: "op.end.before=kill@0", says: "must be a number from 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := failpoint.Parse(tt.text)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %v, want %q", err, tt.says)
				}
				return
			}
			if d := cmp.Diff(tt.want, got); d != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
		})
	}
}

func TestEveryPointHasANameOfItsOwn(t *testing.T) {
	seen := map[failpoint.Point]bool{}
	for _, p := range failpoint.Points() {
		if seen[p] {
			t.Errorf("point %s stands twice", p)
		}
		seen[p] = true
	}
	if len(seen) < 45 {
		t.Errorf("%d points, want 45 or more", len(seen))
	}
}
