package vpd

import "fmt"

// Append writes a VPD behind dst and returns the longer slice: the identifier string if there is one, VPD-R with its fields and RV, VPD-W
// with its fields and RW if there are such fields or Free is not 0, and the end tag. Values are written as they are, so padding can be
// made. The error says which part does not fit: a value has at most 255 bytes, the whole at most Space.
func Append(dst []byte, v *VPD) ([]byte, error) {
	start := len(dst)
	if v.Name != "" {
		if len(v.Name) > Space {
			return nil, fmt.Errorf("VPD: the identifier string has %d bytes", len(v.Name))
		}
		dst = append(dst, tagName, byte(len(v.Name)), byte(len(v.Name)>>8))
		dst = append(dst, v.Name...)
	}
	dst, header, err := appendSection(dst, v, ReadOnly)
	if err != nil {
		return nil, err
	}
	dst = append(dst, checksum[0], checksum[1], 1, 0)
	setLength(dst, header)
	var sum byte
	for _, c := range dst[start:] {
		sum += c
	}
	dst[len(dst)-1] = -sum

	dst, header, err = appendSection(dst, v, ReadWrite)
	switch {
	case err != nil:
		return nil, err
	case v.Free < 0 || v.Free > 255:
		return nil, fmt.Errorf("VPD: RW cannot tell of %d free bytes, only of 0 to 255", v.Free)
	case len(dst) == header+headerLarge && v.Free == 0:
		dst = dst[:header]
	default:
		dst = append(dst, remaining[0], remaining[1], byte(v.Free))
		dst = append(dst, make([]byte, v.Free)...)
		setLength(dst, header)
	}
	dst = append(dst, tagEnd<<3)
	if n := len(dst) - start; n > Space {
		return nil, fmt.Errorf("VPD: %d bytes do not fit into 32 KiB", n)
	}
	return dst, nil
}

// appendSection writes a section's header, whose length is set later, and its fields.
func appendSection(dst []byte, v *VPD, section Section) (out []byte, header int, err error) {
	tag := byte(tagReadOnly)
	if section == ReadWrite {
		tag = tagReadWrite
	}
	header = len(dst)
	dst = append(dst, tag, 0, 0)
	for _, f := range v.Fields {
		switch {
		case f.Section != section:
			continue
		case f.Keyword == checksum || f.Keyword == remaining:
			return nil, 0, fmt.Errorf("VPD: %s is written by itself and cannot be a field", f.Keyword)
		case len(f.Value) > 255:
			return nil, 0, fmt.Errorf("VPD: field %s has %d bytes, more than 255", f.Keyword, len(f.Value))
		}
		dst = append(dst, f.Keyword[0], f.Keyword[1], byte(len(f.Value)))
		dst = append(dst, f.Value...)
	}
	return dst, header, nil
}

// setLength writes the length of the resource that starts at header and ends with dst. What is too long for it is too long for Space.
func setLength(dst []byte, header int) {
	n := len(dst) - header - headerLarge
	dst[header+1], dst[header+2] = byte(n), byte(n>>8)
}
