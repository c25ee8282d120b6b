package devlink

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// LegacyMAC returns the address of the host PF behind an uplink, for kernels whose PF ports report none.
type LegacyMAC func(uplink Port) (net.HardwareAddr, error)

// SysfsLegacyMAC reads class/net/<uplink>/smart_nic/pf/config below root, which is /sys on a DPU: the file of BlueField
// kernels that predate function hw_addr.
func SysfsLegacyMAC(root string) LegacyMAC {
	return func(uplink Port) (net.HardwareAddr, error) {
		if uplink.Netdev == "" || filepath.Base(uplink.Netdev) != uplink.Netdev {
			return nil, fmt.Errorf("uplink %s: no usable network device name: %q", uplink.ID, uplink.Netdev)
		}
		data, err := os.ReadFile(filepath.Join(root, "class", "net", uplink.Netdev, "smart_nic", "pf", "config"))
		if err != nil {
			return nil, err
		}
		return ParsePFConfig(data)
	}
}

// ParsePFConfig reads the address from a smart_nic/pf/config file, whose lines are a key, a colon and a value:
// "MAC        : 08:c0:eb:01:02:03".
func ParsePFConfig(data []byte) (net.HardwareAddr, error) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if !ok || strings.TrimSpace(key) != "MAC" {
			continue
		}
		mac, err := net.ParseMAC(strings.TrimSpace(value))
		if err != nil || len(mac) != 6 {
			return nil, fmt.Errorf("PF config: MAC %q is no Ethernet address", strings.TrimSpace(value))
		}
		return mac, nil
	}
	return nil, fmt.Errorf("PF config: there is no line \"MAC : <address>\"")
}
