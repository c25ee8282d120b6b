package vpd_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/riser-project/riser/pci/vpd"
)

// texts returns the text fields as "R SN" -> value.
func texts(v *vpd.VPD) map[string]string {
	out := map[string]string{}
	for _, f := range v.Fields {
		if f.Text {
			out[strings.TrimPrefix(f.Section.String(), "VPD-")+" "+f.Keyword.String()] = f.Value
		}
	}
	return out
}

func TestParseTakes(t *testing.T) {
	for _, tt := range valid {
		t.Run(tt.name, func(t *testing.T) {
			v, err := vpd.Parse(bin(tt.hex))
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(v); v.Name != tt.id || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("read %q %v; want %q %v", v.Name, got, tt.id, tt.want)
			}
			again, defects, err := vpd.ParseLenient(bin(tt.hex))
			if err != nil || len(defects) != 0 || !reflect.DeepEqual(again, v) {
				t.Fatalf("leniently read %+v, %v, %v", again, defects, err)
			}
			if v, err := vpd.Parse(append(bin(tt.hex), 0xff, 0x90, 0)); err != nil || !reflect.DeepEqual(v, again) {
				t.Fatalf("bytes behind the end tag changed the result: %+v, %v", v, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range invalid {
		t.Run(tt.name, func(t *testing.T) {
			v, err := vpd.Parse(bin(tt.hex))
			var defect *vpd.Defect
			if !errors.As(err, &defect) || !strings.Contains(err.Error(), tt.reason) {
				t.Fatalf("got %+v, %v; want a defect with %q", v, err, tt.reason)
			}
			v, defects, err := vpd.ParseLenient(bin(tt.hex))
			if len(defects) == 0 || *defects[0] != *defect {
				t.Fatalf("leniently, the defects are %v; want first %v", defects, defect)
			}
			if tt.found == nil {
				if err == nil {
					t.Fatalf("lenient reading found %+v", v)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(texts(v), tt.found) {
				t.Fatalf("leniently read %+v, %v; want %v", v, err, tt.found)
			}
		})
	}
}

// Every cut of a valid VPD lacks at least the end tag.
func TestParseRefusesEveryCut(t *testing.T) {
	for _, tt := range valid {
		data := bin(tt.hex)
		for n := range data {
			if v, err := vpd.Parse(data[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes were read as %+v", tt.name, n, len(data), v)
			}
			if _, defects, _ := vpd.ParseLenient(data[:n]); len(defects) == 0 {
				t.Fatalf("%s: %d of %d bytes have no defects", tt.name, n, len(data))
			}
		}
	}
}

// A changed bit anywhere up to the checksum must not yield another serial number.
func TestAChangedBitNeverChangesTheSerialNumber(t *testing.T) {
	data := bin(valid[5].hex)
	for i := range bytes.Index(data, []byte("RV")) + 4 {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if v, err := vpd.Parse(data); err == nil {
				t.Errorf("bit %d of byte %d flipped, and read as %+v", bit, i, v)
			}
			data[i] ^= 1 << bit
		}
	}
}

func TestParseIsAsLooseAsLibvirt(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func() []byte
		want string // serial number; "-" means refused
	}{
		{"a serial number of 255 bytes is kept", func() []byte {
			return build(t, &vpd.VPD{Fields: []vpd.Field{{Keyword: vpd.SerialNumber, Value: strings.Repeat("A", 255)}}})
		}, strings.Repeat("A", 255)},
		{"an unprintable serial number is passed over", func() []byte {
			return build(t, &vpd.VPD{Fields: []vpd.Field{{Keyword: vpd.SerialNumber, Value: "S\xff\x01"}}})
		}, ""},
		{"an unprintable serial number does not replace an earlier one", func() []byte {
			return build(t, &vpd.VPD{Fields: []vpd.Field{{Keyword: vpd.SerialNumber, Value: "GOOD"}, {Keyword: vpd.SerialNumber, Value: "S\xff"}}})
		}, "GOOD"},
		{"a serial number in VPD-W is none", func() []byte {
			return build(t, &vpd.VPD{Fields: []vpd.Field{{Section: vpd.ReadWrite, Keyword: vpd.SerialNumber, Value: "W"}}})
		}, ""},
		{"a vertical tab is not white space", func() []byte {
			return build(t, &vpd.VPD{Fields: []vpd.Field{{Keyword: vpd.SerialNumber, Value: "S\v"}}})
		}, ""},
		{"tabs and newlines around a value are trimmed", func() []byte {
			return build(t, &vpd.VPD{Fields: []vpd.Field{{Keyword: vpd.SerialNumber, Value: "\t S1\r\n"}}})
		}, "S1"},
		{"an unknown small resource is skipped", func() []byte {
			return append([]byte{0x0b, 0xff, 0, 1}, fix(bin("900800534e01415256010078"), 0x0b)...)
		}, "A"},
		{"the data of an unknown resource do not count in the checksum", func() []byte {
			return append([]byte{0x85, 2, 0, 0x7f, 0x7f}, fix(bin("900800534e01415256010078"), 0x85, 2, 0)...)
		}, "A"},
		{"so a checksum by the specification is refused behind an unknown resource", func() []byte {
			return append([]byte{0x85, 2, 0, 0x7f, 0x7f}, fix(bin("900800534e01415256010078"), 0x85, 2, 0, 0x7f, 0x7f)...)
		}, "-"},
		{"an unknown resource behind VPD-R is skipped", func() []byte {
			return append(fix(bin("900800534e014152560100")), 0x85, 2, 0, 0xff, 0xff, 0x78)
		}, "A"},
		{"a second VPD-R replaces fields of the first", func() []byte {
			first := fix(bin("900800534e014152560100"))
			return append(first, fix(bin("900800534e01425256010078"))...)
		}, "B"},
		{"an empty RV is taken if the byte behind it happens to be right", func() []byte {
			return []byte("\x90\x08\x00SN\x02t1RV\x00\x78") // 0x78, the end tag, brings the sum to zero
		}, "t1"},
		{"an end tag with a length is an end tag", func() []byte { return append(fix(bin("900800534e014152560100")), 0x7b) }, "A"},
		{"a VPD that fills the space to the last byte is read", func() []byte { return filled(0) }, "A"},
		{"a VPD one byte longer is refused", func() []byte { return filled(1) }, "-"},
		{"a resource that claims more than the space is refused", func() []byte {
			return append(fix(bin("900800534e014152560100")), append([]byte{0x85, 0xff, 0xff}, make([]byte, 1<<17)...)...)
		}, "-"},
		{"a second VPD at 400h, as some cards have, is not looked at", func() []byte {
			first := append(fix(bin("900800534e014152560100")), 0x78)
			return append(append(first, bytes.Repeat([]byte{0xff}, 0x400-len(first))...), fix(bin("900800534e01425256010078"))...)
		}, "A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := tt.make()
			v, err := vpd.Parse(data)
			if tt.want == "-" {
				if err == nil {
					t.Fatalf("read as %+v", v)
				}
				return
			}
			if err != nil || v.SerialNumber() != tt.want {
				t.Fatalf("serial number is %+v, %v; want %q", v, err, tt.want)
			}
		})
	}
}

// fix sets the byte behind "RV\x01" or "RV\x00" so that the checksum is right with before in front of data.
func fix(data []byte, before ...byte) []byte {
	at := bytes.Index(data, []byte("RV")) + 3
	data[at] = 0
	var sum byte
	for _, c := range slices.Concat(before, data[:at]) {
		sum += c
	}
	data[at] = -sum
	return data
}

// filled makes a VPD whose end tag is the last byte of the space, or over bytes behind it.
func filled(over int) []byte {
	head := fix(bin("900800534e014152560100"))
	n := vpd.Space - len(head) - 3 - 1 + over
	data := append(head, 0x85, byte(n), byte(n>>8))
	data = append(data, make([]byte, n)...)
	return append(data, 0x78)
}

func build(t testing.TB, v *vpd.VPD) []byte {
	t.Helper()
	data, err := vpd.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLenientReadingNamesEveryDefect(t *testing.T) {
	data := bin("820800740373746e616d65" + "900a00534e0241425256025500" + "91040052560155" + "ffffff")
	v, defects, err := vpd.ParseLenient(data)
	if err != nil {
		t.Fatal(err)
	}
	if v.Name != "tstname" || v.SerialNumber() != "AB" {
		t.Errorf("read %q, serial number %q", v.Name, v.SerialNumber())
	}
	var all []string
	for _, d := range defects {
		all = append(all, d.Error())
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"identifier string", "checksum is wrong", "RV does not belong in VPD-W", "does not fit"} {
		if !strings.Contains(text, want) {
			t.Errorf("defects are\n%s\nwant one with %q", text, want)
		}
	}
}

func TestAccessToFields(t *testing.T) {
	v, err := vpd.Parse(build(t, &vpd.VPD{Name: " Card ", Free: 7, Fields: []vpd.Field{
		{Keyword: vpd.PartNumber, Value: "PN1"}, {Keyword: vpd.EngineeringChange, Value: "A3"}, {Keyword: vpd.ManufactureID, Value: "MLNX"},
		{Keyword: vpd.SerialNumber, Value: "MT1 "}, {Keyword: vpd.Keyword{'V', '0'}, Value: "PCIeGen4 x8"}, {Keyword: vpd.Capability, Value: "\x01\x02"},
		{Keyword: vpd.Keyword{'L', 'C'}, Value: "legacy"},
		{Section: vpd.ReadWrite, Keyword: vpd.AssetTag, Value: "tag"}, {Section: vpd.ReadWrite, Keyword: vpd.Keyword{'Y', 'B'}, Value: "sys"},
		{Section: vpd.ReadWrite, Keyword: vpd.Keyword{'V', '0'}, Value: "other"},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, got, want string }{
		{"name", v.Name, "Card"}, {"part number", v.PartNumber(), "PN1"}, {"engineering change", v.EngineeringChange(), "A3"}, {"manufacture id", v.ManufactureID(), "MLNX"},
		{"serial number", v.SerialNumber(), "MT1"}, {"V0", v.Vendor('0'), "PCIeGen4 x8"}, {"asset tag", v.AssetTag(), "tag"}, {"YB", v.System('B'), "sys"}, {"V1", v.Vendor('1'), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is %q; want %q", tt.what, tt.got, tt.want)
		}
	}
	if got, ok := v.Text(vpd.ReadWrite, vpd.Keyword{'V', '0'}); got != "other" || !ok {
		t.Errorf("V0 of VPD-W is %q, %v", got, ok)
	}
	if got, ok := v.Text(vpd.ReadOnly, vpd.Capability); ok {
		t.Errorf("a binary field is text: %q", got)
	}
	if f := v.Fields[5]; f.Text || f.Value != "\x01\x02" {
		t.Errorf("the capability is %+v", f)
	}
	if v.Free != 7 {
		t.Errorf("%d bytes are free; want 7", v.Free)
	}
	if got := (vpd.Keyword{7, 'A'}).String(); got != `"\aA"` {
		t.Errorf("an unprintable keyword is written %s", got)
	}
}

func TestIdentity(t *testing.T) {
	const uuid = "3c53d07eec484d8aab34dabd24fe575a"
	field := func(x byte, value string) vpd.Field { return vpd.Field{Keyword: vpd.Keyword{'V', x}, Value: value} }
	serial := vpd.Field{Keyword: vpd.SerialNumber, Value: "MT2113X00042 "}
	for _, tt := range []struct {
		name         string
		fields       []vpd.Field
		serial, uuid string
		problem      string
	}{
		{"serial number and UUID in V3", []vpd.Field{serial, field('3', uuid)}, "MT2113X00042", uuid, ""},
		{"V3 of another vendor is no UUID", []vpd.Field{serial, field('3', "2.8.20")}, "MT2113X00042", "", ""},
		{"the map in VA tells where the UUID is", []vpd.Field{serial, field('3', "x"), field('5', uuid), field('A', "MLX:MN=MLNX:CSKU=V2:UUID=V5:PCI=V0:MODL=BF2H332A")}, "MT2113X00042", uuid, ""},
		{"a map that tells of no UUID leaves it in V3", []vpd.Field{serial, field('3', uuid), field('A', "MLX:MN=MLNX:CSKU=V2")}, "MT2113X00042", uuid, ""},
		{"no serial number is said so", []vpd.Field{field('3', uuid)}, "", uuid, "empty"},
		{"a placeholder is said so", []vpd.Field{{Keyword: vpd.SerialNumber, Value: "N/A"}}, "", "", `"N/A" is a placeholder`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := vpd.Parse(build(t, &vpd.VPD{Fields: tt.fields}))
			if err != nil {
				t.Fatal(err)
			}
			id := v.Identity()
			if id.Serial != tt.serial || id.UUID != tt.uuid || !strings.Contains(id.Problem, tt.problem) || tt.problem == "" && id.Problem != "" {
				t.Errorf("identity is %+v", id)
			}
		})
	}
}

func TestAppendRefusesWhatDoesNotFit(t *testing.T) {
	long := vpd.Field{Keyword: vpd.PartNumber, Value: strings.Repeat("x", 255)}
	for _, tt := range []struct {
		name string
		vpd  vpd.VPD
		err  string
	}{
		{"a value of 256 bytes", vpd.VPD{Fields: []vpd.Field{{Keyword: vpd.PartNumber, Value: long.Value + "x"}}}, "field PN has 256 bytes"},
		{"RV as a field", vpd.VPD{Fields: []vpd.Field{{Keyword: vpd.Keyword{'R', 'V'}}}}, "RV is written by itself"},
		{"RW as a field of VPD-W", vpd.VPD{Fields: []vpd.Field{{Section: vpd.ReadWrite, Keyword: vpd.Keyword{'R', 'W'}}}}, "RW is written by itself"},
		{"more free bytes than RW can tell", vpd.VPD{Free: 256}, "256 free bytes"},
		{"fewer free bytes than none", vpd.VPD{Free: -1}, "-1 free bytes"},
		{"a name longer than the space", vpd.VPD{Name: strings.Repeat("x", vpd.Space+1)}, "identifier string"},
		{"more fields than the space holds", vpd.VPD{Fields: slices.Repeat([]vpd.Field{long}, 300)}, "do not fit into 32 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if data, err := vpd.Append(nil, &tt.vpd); err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %d bytes, %v; want an error with %q", len(data), err, tt.err)
			}
		})
	}
}

func TestAppendKeepsWhatWasThere(t *testing.T) {
	data, err := vpd.Append([]byte("before"), &vpd.VPD{Name: "X", Fields: []vpd.Field{{Keyword: vpd.SerialNumber, Value: "AB\x00\x00"}}})
	if err != nil || string(data) != "before"+string(bin("82010058900b00534e0441420000525601b978")) {
		t.Fatalf("wrote %x, %v", data, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range valid {
		f.Add(bin(v.hex))
	}
	for _, v := range invalid {
		f.Add(bin(v.hex))
	}
	f.Add(bytes.Repeat([]byte{0}, 70))
	f.Fuzz(func(t *testing.T, data []byte) {
		strict, err := vpd.Parse(data)
		lenient, defects, lerr := vpd.ParseLenient(data)
		if (err == nil) != (len(defects) == 0) {
			t.Fatalf("strictly %v, but leniently the defects are %v", err, defects)
		}
		if err != nil {
			if lerr == nil && size(lenient) > len(data) {
				t.Fatalf("%d bytes became %d", len(data), size(lenient))
			}
			return
		}
		if lerr != nil || !reflect.DeepEqual(strict, lenient) {
			t.Fatalf("strictly %+v, leniently %+v, %v", strict, lenient, lerr)
		}
		written, err := vpd.Append(nil, strict)
		if err != nil {
			if len(data) < vpd.Space/2 {
				t.Fatalf("cannot be written again: %v", err)
			}
			return
		}
		again, err := vpd.Parse(written)
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		slices.SortStableFunc(strict.Fields, func(a, b vpd.Field) int { return int(a.Section) - int(b.Section) })
		if !reflect.DeepEqual(strict, again) {
			t.Fatalf("%+v came back as %+v", strict, again)
		}
	})
}

// size counts the bytes that a VPD refers to.
func size(v *vpd.VPD) int {
	n := len(v.Name)
	for _, f := range v.Fields {
		n += len(f.Value) + len(f.Keyword)
	}
	return n
}

func BenchmarkParse(b *testing.B) {
	for _, v := range []int{0, 4, 5} {
		data := bin(valid[v].hex)
		b.Run(valid[v].name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := vpd.Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestParseAllocatesOncePerValue(t *testing.T) {
	data := bin(valid[5].hex) // a name and four values
	if got := testing.AllocsPerRun(100, func() { _, _ = vpd.Parse(data) }); got > 5+2 {
		t.Errorf("%v allocations for a name and four values", got)
	}
}
