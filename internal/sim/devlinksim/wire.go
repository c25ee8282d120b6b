package devlinksim

import (
	"encoding/binary"
	"maps"
	"net"
	"slices"
	"syscall"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"github.com/riser-project/riser/devlink"
)

// Numbers of the kernel's include/uapi/linux/{genetlink,devlink}.h, written down a second time on purpose: a mistake in
// package devlink must not cancel itself out here.
const (
	controllerID = 16
	familyID     = 0x1f
	groupID      = 7

	ctrlNewFamily     = 1
	ctrlGetFamily     = 3
	ctrlAttrID        = 1
	ctrlAttrName      = 2
	ctrlAttrVersion   = 3
	ctrlAttrGroups    = 7
	ctrlAttrGroupName = 1
	ctrlAttrGroupID   = 2

	cmdPortGet = 5
	cmdPortSet = 6
	cmdPortNew = 7
	cmdPortDel = 8
	cmdInfoGet = 51

	// dumpBatch is how many ports one datagram of a dump carries.
	dumpBatch = 32
)

func pack(command uint8, attrs []byte) []byte {
	data, err := genetlink.Message{Header: genetlink.Header{Command: command, Version: 1}, Data: attrs}.MarshalBinary()
	if err != nil {
		panic(err) // a header and bytes always fit
	}
	return data
}

func encode(fill func(*netlink.AttributeEncoder)) []byte {
	e := netlink.NewAttributeEncoder()
	fill(e)
	data, err := e.Encode()
	if err != nil {
		panic(err) // only an attribute of 64 KiB does that, and no test needs one
	}
	return data
}

func encodePort(p devlink.Port) []byte {
	return encode(func(e *netlink.AttributeEncoder) {
		e.String(1, p.ID.Handle.Bus)
		e.String(2, p.ID.Handle.Device)
		e.Uint32(3, p.ID.Index)
		e.Uint16(4, uint16(p.Type))
		if p.Netdev != "" {
			e.Uint32(6, p.Ifindex)
			e.String(7, p.Netdev)
		}
		e.Uint16(77, uint16(p.Flavour))
		if p.Flavour == devlink.FlavourPhysical && p.Number >= 0 {
			e.Uint32(78, uint32(p.Number))
		}
		encodeFunction(e, p.Function)
		if p.HWAddr == nil && p.State == devlink.StateUnknown && p.OpState == devlink.OpStateUnknown {
			return
		}
		e.Nested(145, func(e *netlink.AttributeEncoder) error {
			if p.HWAddr != nil {
				e.Bytes(1, p.HWAddr)
			}
			if p.State != devlink.StateUnknown {
				e.Uint8(2, uint8(p.State)-1)
			}
			if p.OpState != devlink.OpStateUnknown {
				e.Uint8(3, uint8(p.OpState)-1)
			}
			return nil
		})
	})
}

func encodeFunction(e *netlink.AttributeEncoder, f devlink.Function) {
	if f.Kind == devlink.KindNone {
		return
	}
	e.Uint32(150, f.Controller)
	e.Uint16(127, f.PF)
	switch f.Kind {
	case devlink.KindVF:
		e.Uint16(128, uint16(f.Number))
	case devlink.KindSF:
		e.Uint32(164, f.Number)
	}
	var external uint8
	if f.External {
		external = 1
	}
	e.Uint8(149, external)
}

func encodeInfo(d Device) []byte {
	return encode(func(e *netlink.AttributeEncoder) {
		e.String(1, d.Handle.Bus)
		e.String(2, d.Handle.Device)
		for attr, text := range map[uint16]string{98: d.Driver, 99: d.Serial, 146: d.BoardSerial} {
			if text != "" {
				e.String(attr, text)
			}
		}
		for attr, versions := range map[uint16]map[string]string{100: d.Fixed, 101: d.Running, 102: d.Stored} {
			for _, name := range slices.Sorted(maps.Keys(versions)) {
				e.Nested(attr, func(e *netlink.AttributeEncoder) error {
					e.String(103, name)
					e.String(104, versions[name])
					return nil
				})
			}
		}
	})
}

// request is what the simulator reads of a request's attributes.
type request struct {
	familyName string
	port       devlink.PortID
	hwAddr     net.HardwareAddr
}

func decodeRequest(command uint8, controller bool, data []byte) (request, error) {
	var r request
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return r, err
	}
	for d.Next() {
		switch {
		case controller && d.Type() == ctrlAttrName:
			r.familyName = d.String()
		case controller:
		case d.Type() == 1:
			r.port.Handle.Bus = d.String()
		case d.Type() == 2:
			r.port.Handle.Device = d.String()
		case d.Type() == 3:
			r.port.Index = d.Uint32()
		case d.Type() == 145 && command == cmdPortSet:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					if d.Type() == 1 {
						r.hwAddr = d.Bytes()
					}
				}
				return nil
			})
		}
	}
	return r, d.Err()
}

// answer runs one request.
func (k *Kernel) answer(req netlink.Message) []datagram {
	k.mu.Lock()
	defer k.mu.Unlock()
	var m genetlink.Message
	if err := m.UnmarshalBinary(req.Data); err != nil {
		return status(req, syscall.EINVAL)
	}
	controller := req.Header.Type == controllerID
	r, err := decodeRequest(m.Header.Command, controller, m.Data)
	if err != nil {
		return status(req, syscall.EINVAL)
	}
	switch {
	case controller && m.Header.Command == ctrlGetFamily:
		return k.getFamily(req, r)
	case controller, k.unloaded, req.Header.Type != familyID:
		return status(req, syscall.ENOENT)
	case k.hang != nil:
		close(k.hang)
		k.hang = nil
		return nil
	case m.Header.Command == cmdPortGet && req.Header.Flags&netlink.Dump == netlink.Dump:
		return k.dumpPorts(req)
	case m.Header.Command == cmdPortSet:
		return k.setHWAddr(req, r)
	case m.Header.Command == cmdInfoGet:
		if i := k.find(r.port.Handle); i != nil {
			return reply(req, pack(cmdInfoGet, encodeInfo(i.Device)))
		}
		return status(req, syscall.ENODEV)
	}
	return status(req, syscall.EOPNOTSUPP)
}

func (k *Kernel) getFamily(req netlink.Message, r request) []datagram {
	if k.unloaded || r.familyName != "devlink" {
		return status(req, syscall.ENOENT)
	}
	return reply(req, pack(ctrlNewFamily, encode(func(e *netlink.AttributeEncoder) {
		e.Uint16(ctrlAttrID, familyID)
		e.String(ctrlAttrName, "devlink")
		e.Uint32(ctrlAttrVersion, 1)
		e.Nested(ctrlAttrGroups, func(e *netlink.AttributeEncoder) error {
			e.Nested(1, func(e *netlink.AttributeEncoder) error {
				e.String(ctrlAttrGroupName, "config")
				e.Uint32(ctrlAttrGroupID, groupID)
				return nil
			})
			return nil
		})
	})))
}

func (k *Kernel) dumpPorts(req netlink.Message) []datagram {
	flags := netlink.Multi
	if k.interrupts > 0 {
		k.interrupts--
		flags |= netlink.DumpInterrupted
	}
	var messages []netlink.Message
	for _, i := range k.devices {
		for _, index := range slices.Sorted(maps.Keys(i.ports)) {
			messages = append(messages, message(req, familyID, flags, pack(cmdPortNew, encodePort(i.ports[index]))))
		}
	}
	messages = append(messages, message(req, netlink.Done, flags, make([]byte, 4)))
	var out []datagram
	for batch := range slices.Chunk(messages, dumpBatch) {
		out = append(out, datagram{messages: batch})
	}
	return out
}

func (k *Kernel) setHWAddr(req netlink.Message, r request) []datagram {
	p, ok := k.port(r.port)
	switch {
	case !ok:
		return status(req, syscall.ENODEV)
	case p.Function.Kind == devlink.KindNone:
		return status(req, syscall.EOPNOTSUPP)
	case len(r.hwAddr) != 6 || r.hwAddr[0]&1 != 0:
		return status(req, syscall.EINVAL)
	}
	p.HWAddr = r.hwAddr
	k.setPort(p)
	return status(req, 0)
}

// status answers with an error, or with the acknowledgement, which is error 0.
func status(req netlink.Message, errno syscall.Errno) []datagram {
	data := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	return []datagram{{messages: []netlink.Message{message(req, netlink.Error, 0, append(data, make([]byte, 16)...))}}}
}

func reply(req netlink.Message, data []byte) []datagram {
	return []datagram{{messages: []netlink.Message{message(req, familyID, 0, data)}}}
}

func message(req netlink.Message, t netlink.HeaderType, flags netlink.HeaderFlags, data []byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: t, Flags: flags, Sequence: req.Header.Sequence, PID: req.Header.PID}, Data: data}
}
