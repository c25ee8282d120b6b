package driver

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/riser-project/riser/fault"
)

// maxRaw is the most bytes of a raw request: what an IPMI message over LAN holds (IPMI 2.0, section 13.6), with room.
const maxRaw = 256

// ParseRaw reads a raw IPMI request as the API's raw_bytes has it: at least two bytes, network function and command, then data, each like 0x0a
// or 10, separated by blanks ("0x32 0x6a 0x01"). The error is fault.Invalid.
func ParseRaw(v any) ([]byte, error) {
	text, ok := v.(string)
	if !ok {
		return nil, fault.New(fault.Invalid, `raw_bytes must be a text of bytes such as "0x00 0x01"`)
	}
	words := strings.Fields(text)
	if len(words) < 2 || len(words) > maxRaw {
		return nil, fault.New(fault.Invalid, `raw_bytes must be 2 to %d bytes: network function, command, then data, such as "0x00 0x01"`, maxRaw)
	}
	request := make([]byte, len(words))
	for i, w := range words {
		n, err := strconv.ParseUint(w, 0, 8)
		if err != nil || strings.Contains(w, "_") {
			return nil, fault.New(fault.Invalid, "raw_bytes: %.20q is not a byte such as 0x0a", w)
		}
		request[i] = byte(n)
	}
	return request, nil
}

// FormatRaw writes bytes as ParseRaw reads them: "0x00 0x01".
func FormatRaw(b []byte) string {
	words := make([]string, len(b))
	for i, v := range b {
		words[i] = fmt.Sprintf("0x%02x", v)
	}
	return strings.Join(words, " ")
}
