package driver_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

func TestParseRaw(t *testing.T) {
	tests := map[string]struct {
		in   any
		want []byte
	}{
		"hexadecimal":            {"0x32 0x6a 0x01", []byte{0x32, 0x6a, 0x01}},
		"decimal, more blanks":   {"  6  1 ", []byte{6, 1}},
		"the largest byte":       {"0xff 0xFF", []byte{255, 255}},
		"too large a byte":       {"0x00 0x100", nil},
		"a negative byte":        {"0x00 -1", nil},
		"a word":                 {"0x00 reset", nil},
		"an underscore":          {"0x00 0x_1", nil},
		"a command alone":        {"0x00", nil},
		"nothing":                {"", nil},
		"a list":                 {[]any{0, 1}, nil},
		"nothing at all":         {nil, nil},
		"more than a frame":      {strings.Repeat("0x00 ", 257), nil},
		"a text after a command": {"0x00 0x01; reboot", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := driver.ParseRaw(tt.in)
			if tt.want == nil && !fault.Is(err, fault.Invalid) || tt.want != nil && err != nil || !bytes.Equal(got, tt.want) {
				t.Errorf("ParseRaw(%v) = %x, %v; want %x", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestFormatRaw(t *testing.T) {
	if got := driver.FormatRaw([]byte{0, 1, 0xff}); got != "0x00 0x01 0xff" {
		t.Errorf("got %q", got)
	}
}

func FuzzParseRaw(f *testing.F) {
	f.Add("0x00 0x01")
	f.Add("0 1 0b10 0o17")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := driver.ParseRaw(text)
		if err != nil {
			return
		}
		again, err := driver.ParseRaw(driver.FormatRaw(b))
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is %x, written and read again %x, %v", text, b, again, err)
		}
	})
}
