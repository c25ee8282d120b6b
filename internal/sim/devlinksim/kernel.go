// Package devlinksim is a kernel's devlink family in memory: a table of devlink instances and ports that answers generic
// netlink requests message by message and sends notifications, so that a DPU's agent runs whole in one process without
// root. The far end of the socket is simulated, not the devlink package's own interface.
package devlinksim

import (
	"maps"
	"slices"
	"sync"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"github.com/riser-project/riser/devlink"
)

// Device is one devlink instance and what its driver tells about the card.
type Device struct {
	Handle              devlink.Handle
	Driver              string
	Serial, BoardSerial string
	Fixed               map[string]string // versions; "board.id" is the part number
	Running             map[string]string
	Stored              map[string]string
}

// Kernel is one simulated kernel. It is safe for concurrent use.
type Kernel struct {
	mu         sync.Mutex
	devices    []*instance
	sockets    map[*socket]bool
	nextPID    uint32
	nextIndex  uint32 // ifindex of the next network device
	silent     bool   // changes are made and not told
	interrupts int    // how many dumps from now on are marked as interrupted
	unloaded   bool
	hang       chan struct{} // not nil: the next request is not answered, and this is closed
}

type instance struct {
	Device
	ports map[uint32]devlink.Port
}

// New returns a kernel with the devlink family and no device.
func New() *Kernel {
	return &Kernel{sockets: map[*socket]bool{}, nextIndex: 1}
}

// Dial opens one generic netlink connection to this kernel; it is a [devlink.Dialer].
func (k *Kernel) Dial() (*genetlink.Conn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.nextPID++
	s := newSocket(k)
	k.sockets[s] = true
	return genetlink.NewConn(netlink.NewConn(s, k.nextPID)), nil
}

// Sockets returns how many connections are open.
func (k *Kernel) Sockets() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sockets)
}

// Unload takes the devlink family away, as on a kernel without it. Open connections stay and find nothing.
func (k *Kernel) Unload() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unloaded = true
}

// AddDevice adds an instance without ports, or changes what the instance with that handle tells about itself.
func (k *Kernel) AddDevice(d Device) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d.Fixed, d.Running, d.Stored = maps.Clone(d.Fixed), maps.Clone(d.Running), maps.Clone(d.Stored)
	if i := k.find(d.Handle); i != nil {
		i.Device = d
		return
	}
	k.devices = append(k.devices, &instance{Device: d, ports: map[uint32]devlink.Port{}})
}

// RemoveDevice removes an instance with its ports and tells of each port, as a reset of the card does.
func (k *Kernel) RemoveDevice(h devlink.Handle) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.find(h)
	if i == nil {
		return
	}
	k.devices = slices.DeleteFunc(k.devices, func(d *instance) bool { return d == i })
	for _, index := range slices.Sorted(maps.Keys(i.ports)) {
		k.notify(cmdPortDel, i.ports[index])
	}
}

// SetPort adds a port or changes the one with that ID, and tells of it. The instance is added if it is not there. A
// port with a network device and without an ifindex gets one.
func (k *Kernel) SetPort(p devlink.Port) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.setPort(p)
}

func (k *Kernel) setPort(p devlink.Port) {
	i := k.find(p.ID.Handle)
	if i == nil {
		i = &instance{Device: Device{Handle: p.ID.Handle}, ports: map[uint32]devlink.Port{}}
		k.devices = append(k.devices, i)
	}
	if p.Netdev != "" && p.Ifindex == 0 {
		p.Ifindex = k.nextIndex
		k.nextIndex++
	}
	p.HWAddr = slices.Clone(p.HWAddr)
	i.ports[p.ID.Index] = p
	k.notify(cmdPortNew, p)
}

// RemovePort removes a port and tells of it.
func (k *Kernel) RemovePort(id devlink.PortID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p, ok := k.port(id); ok {
		delete(k.find(id.Handle).ports, id.Index)
		k.notify(cmdPortDel, p)
	}
}

// Rename gives a port's network device another name, "" for none, and tells of it.
func (k *Kernel) Rename(id devlink.PortID, netdev string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.port(id)
	if !ok {
		return
	}
	if p.Netdev = netdev; netdev == "" {
		p.Ifindex = 0
	}
	k.setPort(p)
}

// Port returns a port as it is now.
func (k *Kernel) Port(id devlink.PortID) (devlink.Port, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.port(id)
	p.HWAddr = slices.Clone(p.HWAddr)
	return p, ok
}

func (k *Kernel) port(id devlink.PortID) (devlink.Port, bool) {
	i := k.find(id.Handle)
	if i == nil {
		return devlink.Port{}, false
	}
	p, ok := i.ports[id.Index]
	return p, ok
}

// HasNetdev tells whether a port carries a network device of that name, which is what a virtual switch on this kernel
// can open.
func (k *Kernel) HasNetdev(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, i := range k.devices {
		for _, p := range i.ports {
			if p.Netdev == name && name != "" {
				return true
			}
		}
	}
	return false
}

// Overflow runs change, whose notifications are lost together with those that no watcher has read yet, and then makes
// the next read of each watcher fail with ENOBUFS, as a kernel does that outran its reader. change may be nil.
func (k *Kernel) Overflow(change func()) {
	k.setSilent(true)
	if change != nil {
		change()
	}
	k.setSilent(false)
	k.mu.Lock()
	defer k.mu.Unlock()
	for s := range k.sockets {
		s.overflow()
	}
}

func (k *Kernel) setSilent(silent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.silent = silent
}

// InterruptDumps marks the next n dumps as interrupted by a change (NLM_F_DUMP_INTR).
func (k *Kernel) InterruptDumps(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.interrupts = n
}

// Hang leaves the next devlink request without an answer. The channel is closed when that request has come.
func (k *Kernel) Hang() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hang = make(chan struct{})
	return k.hang
}

func (k *Kernel) find(h devlink.Handle) *instance {
	for _, i := range k.devices {
		if i.Handle == h {
			return i
		}
	}
	return nil
}

func (k *Kernel) notify(command uint8, p devlink.Port) {
	if k.silent {
		return
	}
	k.broadcast(command, encodePort(p))
}

// Notify sends a notification with any content, such as one that no kernel of today sends.
func (k *Kernel) Notify(command uint8, attributes []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broadcast(command, attributes)
}

func (k *Kernel) broadcast(command uint8, attributes []byte) {
	m := netlink.Message{Header: netlink.Header{Type: familyID}, Data: pack(command, attributes)}
	for s := range k.sockets {
		s.notify(m)
	}
}
