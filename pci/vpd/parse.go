package vpd

import (
	"bytes"
	"errors"
	"fmt"
)

// Defect is one fault in a VPD, and where it is.
type Defect struct {
	Offset int    // in bytes from the start
	Reason string // what is wrong there
}

// Error returns the reason with the offset.
func (d *Defect) Error() string { return fmt.Sprintf("VPD offset %#x: %s", d.Offset, d.Reason) }

// Parse reads a VPD as strictly, and as loosely, as libvirt does. Everything up to the end tag MUST be well-formed: there is a VPD-R, whose
// last field is RV, with a right checksum; fields and resources keep their bounds; an identifier string is printable. Unknown resources
// and keywords, unprintable values, padding, repeated keywords and a missing VPD-W are accepted. What follows the end tag is not looked at.
//
// The error is a *Defect that names the first fault.
func Parse(data []byte) (*VPD, error) {
	p := parser{data: data[:min(len(data), Space)]}
	p.v.Fields = make([]Field, 0, 16)
	if err := p.resources(); err != nil {
		return nil, err
	}
	return &p.v, nil
}

// ParseLenient reads what can be read of a VPD, and returns the faults it passed over. There are none exactly if Parse accepts the data,
// and then the result is the same. The error, the first *Defect, is returned when nothing at all could be read.
func ParseLenient(data []byte) (*VPD, []*Defect, error) {
	p := parser{data: data[:min(len(data), Space)], lenient: true}
	err := p.resources()
	if err == nil && len(p.defects) > 0 && p.v.Name == "" && len(p.v.Fields) == 0 {
		err = p.defects[0]
	}
	if err != nil {
		return nil, p.defects, err
	}
	return &p.v, p.defects, nil
}

// Resource tags (PCI 2.2 I.1). A large resource has the top bit set and two bytes of length, a small one three bits of it.
const (
	tagLarge     = 0x80
	tagName      = 0x82
	tagReadOnly  = 0x90
	tagReadWrite = 0x91
	tagEnd       = 0x0f // of a small resource

	headerSmall = 1
	headerLarge = 3
	headerField = 3
)

type parser struct {
	data    []byte
	lenient bool
	defects []*Defect
	v       VPD

	// sum is libvirt's running sum. It leaves out the data of unknown resources, which the specification counts.
	sum      byte
	readOnly bool // a VPD-R was seen
}

// errStop ends lenient reading where no more can be found.
var errStop = errors.New("nothing more to read")

// bad notes a fault. It returns an error if that must end the parsing.
func (p *parser) bad(offset int, format string, args ...any) error {
	d := &Defect{Offset: offset, Reason: fmt.Sprintf(format, args...)}
	if !p.lenient {
		return d
	}
	p.defects = append(p.defects, d)
	return nil
}

// take adds the bytes from a to b to the running sum.
func (p *parser) take(a, b int) {
	for _, c := range p.data[a:b] {
		p.sum += c
	}
}

func (p *parser) resources() error {
	for pos := 0; ; {
		next, err := p.resource(pos)
		if errors.Is(err, errStop) {
			break
		}
		if err != nil {
			return err
		}
		pos = next
	}
	if !p.readOnly {
		return p.bad(0, "there is no VPD-R")
	}
	return nil
}

// resource reads the resource at pos and returns where the next one is; errStop after the end tag.
func (p *parser) resource(pos int) (next int, err error) {
	// cut is the answer to data that ends too early.
	cut := func(what string) (int, error) {
		if err := p.bad(min(pos, len(p.data)), "%s", what); err != nil {
			return 0, err
		}
		return 0, errStop
	}
	switch {
	case len(p.data) == 0:
		return cut("there are no data")
	case pos >= Space:
		return cut("there is no end tag within 32 KiB")
	case pos >= len(p.data):
		return cut("the data end without an end tag")
	}
	tag, body, length := p.data[pos], pos+headerSmall, int(p.data[pos]&7)
	if tag&tagLarge != 0 {
		body = pos + headerLarge
		if body > Space {
			return cut("a large resource starts where the end tag should be")
		}
		if body > len(p.data) {
			return cut("the data end within the header of a resource")
		}
		length = int(p.data[pos+1]) | int(p.data[pos+2])<<8
	}
	p.take(pos, body)
	if tag>>3 == tagEnd {
		return 0, errStop
	}
	end := body + length
	if end > Space {
		if pos == 0 && tag == 0xff {
			return cut("all ones, as if there were no VPD")
		}
		if err := p.bad(pos, "resource %#02x of %d bytes does not fit into 32 KiB", tag, length); err != nil {
			return 0, err
		}
	}
	return end, p.content(tag, pos, body, end)
}

// content reads what a resource holds. In lenient reading, end may lie beyond the data and even beyond the space.
func (p *parser) content(tag byte, pos, body, end int) (err error) {
	have := min(end, len(p.data))
	known := tag == tagName || tag == tagReadOnly || tag == tagReadWrite
	if known && have < min(end, Space) {
		if err := p.bad(have, "the data end within resource %#02x", tag); err != nil {
			return err
		}
	}
	switch tag {
	case tagName:
		err = p.name(body, have)
	case tagReadOnly:
		p.readOnly = true
		err = p.fields(ReadOnly, pos, body, have)
	case tagReadWrite:
		err = p.fields(ReadWrite, pos, body, have)
	}
	if err == nil && (end > Space || known && have < end) {
		return errStop
	}
	return err
}

func (p *parser) name(a, b int) error {
	p.take(a, b)
	name := clean(p.data[a:b])
	if !printable(name) {
		if err := p.bad(a, "the identifier string is not printable ASCII"); err != nil {
			return err
		}
		name = bytes.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, name)
	}
	p.v.Name = string(name)
	return nil
}

// clean returns a value up to its first NUL, without the white space around it.
func clean(value []byte) []byte {
	if i := bytes.IndexByte(value, 0); i >= 0 {
		value = value[:i]
	}
	return bytes.Trim(value, " \t\n\f\r")
}

// fields reads the section between start and end, whose header is at pos.
func (p *parser) fields(section Section, pos, start, end int) error {
	last := checksum
	if section == ReadWrite {
		last = remaining
	}
	closed := false // the last field was read
	at := start
	for at+headerField <= end {
		k := Keyword{p.data[at], p.data[at+1]}
		if closed && !(alphanumeric(k[0]) && alphanumeric(k[1])) {
			return nil // lenient reading has come to what is no field
		}
		body := at + headerField
		next := body + int(p.data[at+2])
		p.take(at, body)
		if next > end {
			return p.bad(at, "field %s of %d bytes runs past the end of %s", k, next-body, section)
		}
		first := k == last && !closed
		if err := p.field(section, k, body, next, first); err != nil {
			return err
		}
		at = next
		if first {
			closed = true
			if at < end {
				if err := p.bad(at, "%s is not the last field of %s: %d bytes follow", k, section, end-at); err != nil {
					return err
				}
			}
		}
	}
	if section == ReadOnly && !closed {
		if err := p.bad(pos, "VPD-R has no RV, so no checksum"); err != nil {
			return err
		}
	}
	if at < end && !closed {
		return p.bad(at, "%d bytes are left in %s behind its last field", end-at, section)
	}
	return nil
}

// field takes one field over. last is true for the first RV of VPD-R and the first RW of VPD-W.
func (p *parser) field(section Section, k Keyword, body, next int, last bool) error {
	if last && k == checksum {
		return p.checksum(body, next)
	}
	p.take(body, next)
	switch {
	case last:
		p.v.Free = next - body
		return nil
	case k == checksum && section == ReadWrite, k == remaining && section == ReadOnly:
		return p.bad(body-headerField, "%s does not belong in %s", k, section)
	case k == checksum, k == remaining:
		return nil // a second one, named already as bytes behind the first
	}
	f := Field{Section: section, Keyword: k}
	raw := p.data[body:next]
	if value := clean(raw); k.isText() && printable(value) {
		f.Text, f.Value = true, string(value)
	} else {
		f.Value = string(raw)
	}
	p.v.Fields = append(p.v.Fields, f)
	return nil
}

// checksum checks RV, whose data are between body and next. Its first byte brings the sum of all bytes so far to zero. Of an RV without
// data the byte behind it is taken, as libvirt does.
func (p *parser) checksum(body, next int) error {
	if body >= len(p.data) {
		return p.bad(body, "the data end where RV should have its checksum")
	}
	p.sum += p.data[body]
	if p.sum == 0 {
		return nil
	}
	var all byte
	for _, c := range p.data[:body+1] {
		all += c
	}
	switch {
	case next == body:
		return p.bad(body, "RV is empty, so there is no checksum")
	case all == 0:
		return p.bad(body, "the checksum is right only with the data of unknown resources, which libvirt leaves out")
	}
	return p.bad(body, "the checksum is wrong: the bytes up to it add up to %#02x, not to 0", all)
}
