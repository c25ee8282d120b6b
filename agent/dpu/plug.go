package dpu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/ovsdb"
)

// opening is how long ovs-vswitchd may take to open an interface before that is told.
const opening = 100 * time.Millisecond

// plug makes the bridge have the order's representor for its port, and says how far that is.
func (r *reconciler) plug(ctx context.Context, s *scene, o order) (wire.PortStatus, time.Duration, error) {
	port := s.found[o.Port]
	if rival := s.wanted[port.Netdev]; rival != o.Port {
		status, err := r.withdraw(ctx, s, o, failed("%s is ordered for port %s too, and later", port.Function, rival))
		return status, 0, err
	}
	if err := r.kernel.renamed(port); err != nil {
		status, err := r.withdraw(ctx, s, o, waiting("the representor: %v", err))
		return status, retry, err
	}
	want := r.attachment(o, port)
	if holder := s.holder[port.Netdev]; holder != o.Port {
		want.Replaces = holder
	}
	note := r.address(ctx, o, port)
	have, ok := asWanted(s.plugged[o.Port], want)
	if !ok {
		err, tried := s.tried[o.Port]
		if !tried {
			_, err = r.vswitch.Plug(ctx, want)
		}
		if err != nil {
			return wire.PortStatus{}, 0, err
		}
		have = ovsdb.Interface{}
	}
	status, after := r.opened(o, port, have, note)
	return status, after, nil
}

func (r *reconciler) attachment(o order, port devlink.Port) ovsdb.Attachment {
	return ovsdb.Attachment{
		Bridge: r.Bridge, Interface: port.Netdev, IfaceID: o.Port, IfaceIDVer: strconv.FormatInt(o.Generation, 10), Generation: o.Generation, MTU: o.MTU,
	}
}

// width is how many transactions are on their way at the same time.
const width = 8

// plugAhead plugs what concerns no other port, several at a time: after a restart of the card that is all of it. What came of it, plug finds.
func (r *reconciler) plugAhead(ctx context.Context, s *scene) {
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, width)
	for _, o := range s.orders {
		port, ok := s.found[o.Port]
		if !ok || o.ByOVN || s.loses(o) > 0 || len(s.plugged[o.Port]) > 0 || s.holder[port.Netdev] != "" || r.kernel.renamed(port) != nil {
			continue
		}
		r.address(ctx, o, port)
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			_, err := r.vswitch.Plug(ctx, r.attachment(o, port))
			mu.Lock()
			defer mu.Unlock()
			s.tried[o.Port] = err
		})
	}
	all.Wait()
}

// opened says how far an interface is that is in the bridge for an order, and when to look again.
func (r *reconciler) opened(o order, port devlink.Port, have ovsdb.Interface, note string) (wire.PortStatus, time.Duration) {
	status := statusOf(o, wire.Plugged, note)
	status.Representor = port.Netdev
	if have.OFPort > 0 && have.Error == "" {
		delete(r.unopened, o.Port)
		status.Installed = have.Installed
		return status, 0
	}
	var after time.Duration
	status.State, status.Reason, after = r.opening(o.Port, port.Netdev, have)
	return status, after
}

// opening says how far ovs-vswitchd is with an interface that it has not opened, and when to look again. It needs some milliseconds, which are no
// news, and a device that cannot be opened may just be about to go, or to get another name.
func (r *reconciler) opening(port, netdev string, have ovsdb.Interface) (state, reason string, after time.Duration) {
	since, ok := r.unopened[port]
	if !ok {
		since = time.Now()
		r.unopened[port] = since
	}
	took := time.Since(since)
	failed := have.Error != "" || have.OFPort < 0
	switch {
	case took < opening && !failed:
		return "", "", opening - took
	case failed && took >= r.Settle:
		return wire.Failed, fmt.Sprintf("Open vSwitch cannot use %s: %s", netdev, have.Error), 0
	case failed:
		return wire.Waiting, fmt.Sprintf("Open vSwitch to open %s: %s", netdev, have.Error), r.Settle - took
	}
	return wire.Waiting, fmt.Sprintf("ovs-vswitchd to open %s, which is in %s", netdev, r.Bridge), 0
}

// asWanted returns the interface of a port, if it is its only one and as wanted.
func asWanted(list []ovsdb.Interface, want ovsdb.Attachment) (ovsdb.Interface, bool) {
	if len(list) != 1 {
		return ovsdb.Interface{}, false
	}
	i := list[0]
	return i, i.Name == want.Interface && i.Bridge == want.Bridge && i.Generation == want.Generation && i.MTU == want.MTU && i.IfaceIDVer == want.IfaceIDVer
}

// withdraw takes out what is plugged for a port whose representor is not there, since another device may get its name, and says why nothing is
// plugged.
func (r *reconciler) withdraw(ctx context.Context, s *scene, o order, why *obstacle) (wire.PortStatus, error) {
	if len(s.plugged[o.Port]) > 0 && !why.doubt {
		if _, err := r.vswitch.Unplug(ctx, o.Port, o.Generation); err != nil {
			return wire.PortStatus{}, err
		}
	}
	return statusOf(o, why.state, why.reason), nil
}

// unplug takes out what is plugged for a port. Only after that is the function free.
func (r *reconciler) unplug(ctx context.Context, o order) (wire.PortStatus, error) {
	if _, err := r.vswitch.Unplug(ctx, o.Port, o.Generation); err != nil {
		return wire.PortStatus{}, err
	}
	return statusOf(o, wire.Unplugged, ""), nil
}

// address is an attempt to set the address of a function.
type address struct {
	port    devlink.PortID
	ifindex uint32
	mac     string
	note    string // why the function does not have it; "" if it has
	final   bool   // another attempt would end the same way
}

// address gives the VF or SF the address of its port, as far as the kernel lets this side do that, and returns what is to be told about it. The
// PF of a host keeps its own: it is by this address that the PF is found.
func (r *reconciler) address(ctx context.Context, o order, port devlink.Port) string {
	if o.Kind == wire.KindPF || o.MAC == "" {
		return ""
	}
	mac, err := net.ParseMAC(o.MAC)
	if err != nil || len(mac) != 6 {
		return fmt.Sprintf("the address of the function is not set: %q is no Ethernet address", o.MAC)
	}
	if slices.Equal(port.HWAddr, mac) {
		delete(r.addresses, o.Port)
		return ""
	}
	try := address{port: port.ID, ifindex: port.Ifindex, mac: o.MAC}
	if before, ok := r.addresses[o.Port]; ok && before.final && before.port == try.port && before.ifindex == try.ifindex && before.mac == try.mac {
		return before.note
	}
	err = r.kernel.setHWAddr(ctx, port.ID, mac)
	try.final = err == nil || errors.Is(err, syscall.EOPNOTSUPP)
	if err != nil {
		try.note = fmt.Sprintf("the address of the function is not set: %v", err)
	}
	r.addresses[o.Port] = try
	return try.note
}
