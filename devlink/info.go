package devlink

import (
	"context"
	"fmt"

	"github.com/mdlayher/netlink"
)

// Info describes the device of a devlink instance. A text that the driver does not report is "".
type Info struct {
	Driver      string
	Serial      string
	BoardSerial string // the serial number of the card; mlx5 reports it since 2025

	Fixed   map[string]string // versions that cannot change, such as "board.id", which holds the part number
	Running map[string]string // versions in use, such as "fw.version"
	Stored  map[string]string // versions that the next reset activates
}

// Info returns what the driver of an instance tells about its device. The error is syscall.ENODEV, by errors.Is, where
// there is no such instance, and syscall.EOPNOTSUPP where its driver tells nothing.
func (c *Conn) Info(ctx context.Context, h Handle) (Info, error) {
	msgs, _, err := c.request(ctx, cmdInfoGet, netlink.Request, func(e *netlink.AttributeEncoder) { encodeHandle(e, h) })
	if err != nil {
		return Info{}, fmt.Errorf("devlink: %s: get info: %w", h, err)
	}
	if len(msgs) != 1 {
		return Info{}, fmt.Errorf("devlink: %s: get info: the kernel gave %d answers, want 1", h, len(msgs))
	}
	info, err := decodeInfo(msgs[0].Data)
	if err != nil {
		return Info{}, fmt.Errorf("devlink: %s: get info: %w", h, err)
	}
	return info, nil
}

func decodeInfo(data []byte) (Info, error) {
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return Info{}, fmt.Errorf("info attributes: %w", err)
	}
	i := Info{Fixed: map[string]string{}, Running: map[string]string{}, Stored: map[string]string{}}
	for d.Next() {
		switch d.Type() {
		case attrInfoDriverName:
			i.Driver = d.String()
		case attrInfoSerial:
			i.Serial = d.String()
		case attrInfoBoardSerial:
			i.BoardSerial = d.String()
		case attrInfoFixed:
			d.Nested(decodeVersion(i.Fixed))
		case attrInfoRunning:
			d.Nested(decodeVersion(i.Running))
		case attrInfoStored:
			d.Nested(decodeVersion(i.Stored))
		}
	}
	if err := d.Err(); err != nil {
		return Info{}, fmt.Errorf("info attributes: %w", err)
	}
	return i, nil
}

func decodeVersion(into map[string]string) func(*netlink.AttributeDecoder) error {
	return func(d *netlink.AttributeDecoder) error {
		var name, value string
		for d.Next() {
			switch d.Type() {
			case attrInfoVersionName:
				name = d.String()
			case attrInfoVersionValue:
				value = d.String()
			}
		}
		if name != "" {
			into[name] = value
		}
		return nil
	}
}
