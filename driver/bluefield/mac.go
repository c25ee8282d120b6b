package bluefield

import (
	"encoding/binary"
	"net"
)

// lowerMAC returns the MAC address that lies n below text, lower case with colons, or "" when text is no MAC address or lies lower itself.
func lowerMAC(text string, n uint64) string {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return ""
	}
	number := binary.BigEndian.Uint64(append([]byte{0, 0}, mac...))
	if number < n {
		return ""
	}
	lower := binary.BigEndian.AppendUint64(nil, number-n)
	return net.HardwareAddr(lower[2:]).String()
}
