// Package devlink reads the devlink ports and the board serial number of the running kernel and sets the MAC address of
// a port's function, by generic netlink (family "devlink", version 1).
//
// On a DPU each function that the card shows to its hosts has a port here: the representor. A representor is found by
// what it represents (devlink instance, controller, PF, VF or SF), never by the name of its network device, which a
// rename may change at any time. [Conn] talks to the kernel, [Table] is the lookup over one dump, and [Watcher] tells
// when a dump has to be repeated.
package devlink

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNoFamily means that this kernel has no devlink: it was built without it, or no driver that uses it is loaded.
	ErrNoFamily = errors.New("the kernel has no generic netlink family devlink")
	// ErrNoPort means that the table has no port for the function asked for.
	ErrNoPort = errors.New("no such port")
	// ErrNoNetdev means that the port exists and its network device does not exist yet.
	ErrNoNetdev = errors.New("the port has no network device yet")
	// ErrAmbiguous means that more than one port answers to the same question.
	ErrAmbiguous = errors.New("more than one port matches")
)

// Handle names a devlink instance, which is a device on a bus.
type Handle struct {
	Bus    string // "pci", "auxiliary", "platform"
	Device string // "0000:03:00.0"
}

// String returns the handle as devlink(8) writes it: pci/0000:03:00.0.
func (h Handle) String() string { return h.Bus + "/" + h.Device }

// ParseHandle reads a handle as devlink(8) writes it: bus, slash, device, neither of them empty.
func ParseHandle(s string) (Handle, error) {
	bus, device, ok := strings.Cut(s, "/")
	if !ok || bus == "" || device == "" || strings.Contains(device, "/") {
		return Handle{}, fmt.Errorf("devlink handle %q: want <bus>/<device>, such as pci/0000:03:00.0", s)
	}
	return Handle{Bus: bus, Device: device}, nil
}

// PortID names a port: its devlink instance and its index there.
type PortID struct {
	Handle Handle
	Index  uint32
}

// String returns the port as devlink(8) writes it: pci/0000:03:00.0/131071.
func (id PortID) String() string { return fmt.Sprintf("%s/%d", id.Handle, id.Index) }

// Values of the kernel's include/uapi/linux/devlink.h.
const (
	familyName = "devlink"
	groupName  = "config"

	cmdPortGet = 5
	cmdPortSet = 6
	cmdPortNew = 7
	cmdPortDel = 8
	cmdInfoGet = 51

	attrBusName           = 1
	attrDevName           = 2
	attrPortIndex         = 3
	attrPortType          = 4
	attrPortNetdevIfindex = 6
	attrPortNetdevName    = 7
	attrPortFlavour       = 77
	attrPortNumber        = 78
	attrInfoDriverName    = 98
	attrInfoSerial        = 99
	attrInfoFixed         = 100
	attrInfoRunning       = 101
	attrInfoStored        = 102
	attrInfoVersionName   = 103
	attrInfoVersionValue  = 104
	attrPortPCIPF         = 127
	attrPortPCIVF         = 128
	attrPortFunction      = 145
	attrInfoBoardSerial   = 146
	attrPortExternal      = 149
	attrPortController    = 150
	attrPortPCISF         = 164

	attrFunctionHWAddr  = 1
	attrFunctionState   = 2
	attrFunctionOpState = 3
)
