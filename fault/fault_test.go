package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/riser-project/riser/fault"
)

func TestKindOf(t *testing.T) {
	tests := map[string]struct {
		err  error
		want fault.Kind
	}{
		"nil is internal and never asked for":     {nil, fault.Internal},
		"an ordinary error is internal":           {io.EOF, fault.Internal},
		"a fault has its kind":                    {fault.New(fault.Locked, "node n is locked"), fault.Locked},
		"a wrapped fault keeps its kind":          {fmt.Errorf("node n: %w", fault.New(fault.Timeout, "no answer")), fault.Timeout},
		"the outermost fault of a chain decides":  {fault.New(fault.Invalid, "bad: %w", fault.New(fault.NotFound, "gone")), fault.Invalid},
		"a fault joined with another error shows": {errors.Join(io.EOF, fault.New(fault.Lost, "lost")), fault.Lost},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fault.KindOf(tt.err); got != tt.want {
				t.Errorf("KindOf(%v) = %v, want %v", tt.err, got, tt.want)
			}
		})
	}
}

func TestNewKeepsTheCause(t *testing.T) {
	err := fault.New(fault.Unavailable, "database: %w", io.ErrUnexpectedEOF)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v does not unwrap to its cause", err)
	}
	if got, want := err.Error(), "database: unexpected EOF"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestIsOfNil(t *testing.T) {
	if fault.Is(nil, fault.Internal) {
		t.Error("nil is a fault")
	}
}

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]bool{}
	for k := fault.Internal; k <= fault.Lost; k++ {
		if s := k.String(); seen[s] || s == fmt.Sprintf("kind %d", uint8(k)) {
			t.Errorf("kind %d: name %q is missing or taken", k, s)
		}
		seen[k.String()] = true
	}
}
