package devlink_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"

	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/internal/sim/devlinksim"
)

func mac(t testing.TB, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func handle(t testing.TB, s string) devlink.Handle {
	t.Helper()
	h, err := devlink.ParseHandle(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func connect(t testing.TB, k *devlinksim.Kernel) *devlink.Conn {
	t.Helper()
	c, err := devlink.New(k.Dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func dump(t testing.TB, c *devlink.Conn) []devlink.Port {
	t.Helper()
	ports, err := c.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

// card is a card of two uplinks that serves one host.
func card(t testing.TB, vfs int) devlinksim.Card {
	return devlinksim.Card{
		Serial: "MT2113X00042", PartNumber: "MBF2H332A-AEEOT", VFs: vfs,
		Hosts: [][]net.HardwareAddr{{mac(t, "08:c0:eb:aa:00:01"), mac(t, "08:c0:eb:aa:00:02")}},
	}
}

func TestEveryFieldOfAPortIsRead(t *testing.T) {
	h := devlink.Handle{Bus: "platform", Device: "dpusim.0"}
	pf := devlink.Function{Handle: h, Controller: 1, External: true, Kind: devlink.KindPF}
	sf := devlink.Function{Handle: h, Controller: 2, External: true, Kind: devlink.KindSF, PF: 3, Number: 88}
	want := []devlink.Port{
		{
			ID: devlink.PortID{Handle: h, Index: 0}, Flavour: devlink.FlavourPCIPF, Type: devlink.TypeEthernet, Ifindex: 7,
			Netdev: "pf0hpf", Number: -1, Function: pf, HWAddr: mac(t, "0c:42:a1:00:00:00"),
		},
		{
			ID: devlink.PortID{Handle: h, Index: 1}, Flavour: devlink.FlavourPCIVF, Type: devlink.TypeEthernet, Ifindex: 8,
			Netdev: "pf0vf0", Number: -1, Function: pf.VF(0), HWAddr: mac(t, "0c:42:a1:00:00:10"),
		},
		{
			ID: devlink.PortID{Handle: h, Index: 2}, Flavour: devlink.FlavourPCISF, Number: -1, Function: sf,
			HWAddr: mac(t, "00:00:00:00:00:00"), State: devlink.StateActive, OpState: devlink.OpStateDetached,
		},
		{ID: devlink.PortID{Handle: h, Index: 3}, Flavour: devlink.FlavourCPU, Type: devlink.TypeNotSet, Number: -1},
		{
			ID: devlink.PortID{Handle: h, Index: 65535}, Flavour: devlink.FlavourPhysical, Type: devlink.TypeEthernet,
			Ifindex: 9, Netdev: "p0", Number: 0,
		},
	}
	k := devlinksim.New()
	for _, p := range want {
		k.SetPort(p)
	}
	if diff := cmp.Diff(want, dump(t, connect(t, k))); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestADumpOfManyDatagramsIsWhole(t *testing.T) {
	k := devlinksim.New()
	k.AddCard(card(t, 200))
	if got := len(dump(t, connect(t, k))); got != 2*(200+2) {
		t.Errorf("got %d ports, want %d", got, 2*(200+2))
	}
}

func TestAnInterruptedDumpIsRepeated(t *testing.T) {
	k := devlinksim.New()
	k.AddCard(card(t, 4))
	c := connect(t, k)
	k.InterruptDumps(2)
	if got := len(dump(t, c)); got != 12 {
		t.Errorf("got %d ports, want 12", got)
	}
	k.InterruptDumps(100)
	if _, err := c.Ports(t.Context()); err == nil {
		t.Error("a table that changes during every dump was given out as if it were whole")
	}
}

func TestInfoTellsBoardSerialAndVersions(t *testing.T) {
	k := devlinksim.New()
	h := handle(t, "pci/0000:03:00.0")
	k.AddDevice(devlinksim.Device{
		Handle: h, Driver: "mlx5_core", Serial: "3c53d07eec48", BoardSerial: "MT2113X00042",
		Fixed: map[string]string{"board.id": "MBF2H332A-AEEOT"}, Running: map[string]string{"fw.version": "24.38.1002", "fw": "24.38"},
		Stored: map[string]string{"fw.version": "24.39.0001"},
	})
	c := connect(t, k)
	got, err := c.Info(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	want := devlink.Info{
		Driver: "mlx5_core", Serial: "3c53d07eec48", BoardSerial: "MT2113X00042",
		Fixed: map[string]string{"board.id": "MBF2H332A-AEEOT"}, Running: map[string]string{"fw.version": "24.38.1002", "fw": "24.38"},
		Stored: map[string]string{"fw.version": "24.39.0001"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	if _, err := c.Info(t.Context(), handle(t, "pci/0000:99:00.0")); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("info of an absent device: %v, want ENODEV", err)
	}
}

func TestSetHWAddr(t *testing.T) {
	k := devlinksim.New()
	k.AddCard(card(t, 2))
	c := connect(t, k)
	table := devlink.NewTable(dump(t, c), nil)
	pf, err := table.HostPF(mac(t, "08:c0:eb:aa:00:02"))
	if err != nil {
		t.Fatal(err)
	}
	vf, err := table.Lookup(pf.Function.VF(1))
	if err != nil {
		t.Fatal(err)
	}
	address := mac(t, "fa:16:3e:2a:b6:4e")
	if err := c.SetHWAddr(t.Context(), vf.ID, address); err != nil {
		t.Fatal(err)
	}
	if p, _ := k.Port(vf.ID); p.HWAddr.String() != address.String() {
		t.Errorf("the kernel has %s, want %s", p.HWAddr, address)
	}
	uplink := devlink.PortID{Handle: pf.ID.Handle, Index: 65535}
	for _, tt := range []struct {
		name string
		port devlink.PortID
		mac  net.HardwareAddr
		want error
	}{
		{"a port without a function is not supported", uplink, address, syscall.EOPNOTSUPP},
		{"a port that is gone is no device", devlink.PortID{Handle: pf.ID.Handle, Index: 4711}, address, syscall.ENODEV},
		{"a multicast address is refused", vf.ID, mac(t, "01:00:5e:00:00:01"), nil},
		{"the zero address is refused", vf.ID, mac(t, "00:00:00:00:00:00"), nil},
		{"an InfiniBand address is refused", vf.ID, mac(t, "00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01"), nil},
		{"no address is refused", vf.ID, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := c.SetHWAddr(t.Context(), tt.port, tt.mac)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestAKernelWithoutDevlinkIsAnErrorOfItsOwn(t *testing.T) {
	k := devlinksim.New()
	k.Unload()
	if _, err := devlink.New(k.Dial); !errors.Is(err, devlink.ErrNoFamily) {
		t.Errorf("got %v, want ErrNoFamily", err)
	}
	if n := k.Sockets(); n != 0 {
		t.Errorf("%d sockets left open", n)
	}
}

func TestACancelledRequestEndsAndTheNextOneWorks(t *testing.T) {
	k := devlinksim.New()
	k.AddCard(card(t, 1))
	c := connect(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	unanswered := k.Hang()
	go func() {
		<-unanswered
		cancel()
	}()
	if _, err := c.Ports(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the cancellation", err)
	}
	if got := len(dump(t, c)); got != 6 {
		t.Errorf("after a cancelled request: %d ports, want 6", got)
	}
	if _, err := c.Ports(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that was cancelled before: %v", err)
	}
}

func TestAfterCloseNothingIsAsked(t *testing.T) {
	k := devlinksim.New()
	c := connect(t, k)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := c.Ports(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
	if n := k.Sockets(); n != 0 {
		t.Errorf("%d sockets left open", n)
	}
}

func TestParseHandle(t *testing.T) {
	for _, s := range []string{"", "/", "pci", "pci/", "/0000:03:00.0", "pci/0000:03:00.0/131071"} {
		if h, err := devlink.ParseHandle(s); err == nil {
			t.Errorf("%q was read as %v", s, h)
		}
	}
	if got := handle(t, "auxiliary/mlx5_core.sf.4").String(); got != "auxiliary/mlx5_core.sf.4" {
		t.Error(got)
	}
}

// answering returns a connection whose kernel answers each request of the family with one message of these bytes.
func answering(t testing.TB, data []byte) *devlink.Conn {
	t.Helper()
	family := genetlink.Family{ID: 0x1f, Name: "devlink", Version: 1}
	c, err := devlink.New(func() (*genetlink.Conn, error) {
		return genltest.Dial(genltest.ServeFamily(family, func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
			return []genetlink.Message{{Header: genetlink.Header{Command: 7, Version: 1}, Data: data}}, nil
		})), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func attributes(t testing.TB, fill func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	e := netlink.NewAttributeEncoder()
	fill(e)
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// vfAttributes are those of VF 3, as bytes; without leaves some out and extra adds some.
func vfAttributes(t testing.TB, without []uint16, extra func(*netlink.AttributeEncoder)) []byte {
	return attributes(t, func(e *netlink.AttributeEncoder) {
		has := map[uint16]bool{}
		for _, a := range []uint16{1, 2, 3, 77, 127, 128, 149, 150} {
			has[a] = true
		}
		for _, a := range without {
			delete(has, a)
		}
		put := func(attr uint16, f func()) {
			if has[attr] {
				f()
			}
		}
		put(1, func() { e.String(1, "pci") })
		put(2, func() { e.String(2, "0000:03:00.0") })
		put(3, func() { e.Uint32(3, 9) })
		put(77, func() { e.Uint16(77, 4) })
		put(127, func() { e.Uint16(127, 0) })
		put(128, func() { e.Uint16(128, 3) })
		put(149, func() { e.Uint8(149, 1) })
		put(150, func() { e.Uint32(150, 1) })
		if extra != nil {
			extra(e)
		}
	})
}

func TestNumbersThatAreMissingAreNeverZero(t *testing.T) {
	vf3 := devlink.Function{Handle: handle(t, "pci/0000:03:00.0"), Controller: 1, External: true, Kind: devlink.KindPF}.VF(3)
	for _, tt := range []struct {
		name    string
		without []uint16
		want    devlink.Function
	}{
		{"all numbers make a function", nil, vf3},
		{"without a VF number there is no function", []uint16{128}, devlink.Function{}},
		{"without a PF number there is no function", []uint16{127}, devlink.Function{}},
		{"before 5.10 there is no controller: the function is local", []uint16{149, 150},
			devlink.Function{Handle: vf3.Handle, Kind: devlink.KindVF, Number: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ports := dump(t, answering(t, vfAttributes(t, tt.without, nil)))
			if len(ports) != 1 || ports[0].Function != tt.want {
				t.Errorf("got %+v, want the function %s", ports, tt.want)
			}
		})
	}
}

func TestMalformedAttributesAreAnError(t *testing.T) {
	good := vfAttributes(t, nil, nil)
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"cut in the middle of an attribute", good[:len(good)-3]},
		{"a length beyond the end", append(vfAttributes(t, nil, nil), 0xff, 0x00, 3, 0)},
		{"a VF number of one byte", vfAttributes(t, []uint16{128}, func(e *netlink.AttributeEncoder) { e.Uint8(128, 3) })},
		{"a nested function cut short", vfAttributes(t, nil, func(e *netlink.AttributeEncoder) { e.Bytes(145, []byte{40, 0, 1, 0}) })},
		{"no device name", vfAttributes(t, []uint16{2}, nil)},
		{"no port index", vfAttributes(t, []uint16{3}, nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if ports, err := answering(t, tt.data).Ports(t.Context()); err == nil {
				t.Errorf("read as %+v", ports)
			}
		})
	}
}

func FuzzPortAttributes(f *testing.F) {
	f.Add(vfAttributes(f, nil, nil))
	f.Add(vfAttributes(f, []uint16{128}, func(e *netlink.AttributeEncoder) {
		e.Nested(145, func(e *netlink.AttributeEncoder) error {
			e.Bytes(1, []byte{8, 0, 0, 0, 0, 1})
			e.Uint8(2, 1)
			return nil
		})
	}))
	f.Add([]byte{4, 0, 145, 128, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		ports, err := answering(t, data).Ports(t.Context())
		if err != nil {
			return
		}
		for _, p := range ports {
			if k := p.Function.Kind; k != devlink.KindNone && p.Function.Handle != p.ID.Handle {
				t.Errorf("function %s on port %s", p.Function, p.ID)
			}
		}
		table := devlink.NewTable(ports, nil)
		for _, p := range ports {
			if p.Function.Kind == devlink.KindNone {
				continue
			}
			if got, err := table.Lookup(p.Function); err == nil && got.ID != p.ID {
				t.Errorf("%s is found at %s, want %s", p.Function, got.ID, p.ID)
			}
		}
	})
}

func FuzzInfoAttributes(f *testing.F) {
	f.Add(attributes(f, func(e *netlink.AttributeEncoder) {
		e.String(98, "mlx5_core")
		e.String(146, "MT2113X00042")
		e.Nested(100, func(e *netlink.AttributeEncoder) error {
			e.String(103, "board.id")
			e.String(104, "MBF2H332A-AEEOT")
			return nil
		})
	}))
	f.Add([]byte{8, 0, 100, 128, 9, 0, 103, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := answering(t, data).Info(t.Context(), devlink.Handle{Bus: "pci", Device: "0000:03:00.0"})
		if err == nil && info.Fixed == nil {
			t.Error("no map of versions")
		}
	})
}
