package vpd_test

import "encoding/hex"

// Real and constructed VPDs that a reader must take.
var valid = []struct {
	name, hex string
	want      map[string]string // section and keyword -> value
	id, free  string
}{
	{
		name: "all kinds of fields", hex: "820800746573746e616d65901600504e0234324543043432343256410245585256023100911900565a023432594104213c3e3a5946024558594500525702000078",
		id: "testname", want: map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX", "W VZ": "42", "W YA": "!<>:", "W YF": "EX", "W YE": ""},
	},
	{
		name: "an RW of length zero", hex: "820800746573746e616d65901600504e0234324543043432343256410245585256023100910800565a02343252570078",
		id: "testname", want: map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX", "W VZ": "42"},
	},
	{
		name: "a VPD-W without RW", hex: "820800746573746e616d65901600504e0234324543043432343256410245585256023100910500565a02343278",
		id: "testname", want: map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX", "W VZ": "42"},
	},
	{
		name: "unknown keywords", hex: "820800746573746e616d65902500504e0234324543043432343256410245580741020000560702000065780200005256029a0078",
		id: "testname", want: map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX"},
	},
	{
		name: "a card of 2012 without serial number",
		hex: "82230048502045746865726e65742031476220322d706f727420333631692041646170746572904200504e034e2f414543034e2f41534e034e2f4156302934572f3157205043496547327834" +
			"203270203147624520524a343520496e74656c206933353020202052560163914700563106352e372e3036563306322e382e3230563606312e352e33355941034e2f41594210ffffffffffffffffffffffffffffffff59430dffffffffffffffffffffffffff52570078",
		id: "HP Ethernet 1Gb 2-port 361i Adapter", want: map[string]string{
			"R PN": "N/A", "R EC": "N/A", "R SN": "N/A", "R V0": "4W/1W PCIeG2x4 2p 1GbE RJ45 Intel i350", "W V1": "5.7.06", "W V3": "2.8.20", "W V6": "1.5.35", "W YA": "N/A",
		},
	},
	{
		name: "a BlueField-2",
		hex: "822500426c75654669656c642d3220445055203235476245204475616c2d506f7274205346503536904d00504e0f4d42463248333332412d4145454f54454302" +
			"4231534e0c4d54323131335830303034325633203363353364303765656334383464386161623334646162643234666535373561525601aa78",
		id: "BlueField-2 DPU 25GbE Dual-Port SFP56", want: map[string]string{
			"R PN": "MBF2H332A-AEEOT", "R EC": "B1", "R SN": "MT2113X00042", "R V3": "3c53d07eec484d8aab34dabd24fe575a",
		},
	},
	{
		name: "a serial number padded with blanks", hex: "82010058901a00534e1020204d54303030305830303030312020525604f400000091110059410761737365742d315257040000000078",
		id: "X", want: map[string]string{"R SN": "MT0000X00001", "W YA": "asset-1"},
	},
	{name: "an empty serial number", hex: "82010058900700534e005256014478", id: "X", want: map[string]string{"R SN": ""}},
	{name: "a serial number padded with NULs", hex: "82010058900b00534e0441420000525601b978", id: "X", want: map[string]string{"R SN": "AB"}},
	{name: "two serial numbers, of which the last counts", hex: "82010058901500534e054649525354534e065345434f4e445256014678", id: "X", want: map[string]string{"R SN": "SECOND"}},
}

// VPDs that libvirt rejects whole, with what is wrong, and what lenient reading still finds.
var invalid = []struct {
	name, hex, reason string
	found             map[string]string // nil: nothing at all
}{
	{"one zero", "00", "the data end without an end tag", nil},
	{"an identifier string whose length is too long", "820a00746573746e616d65900500525602d40078", "VPD offset", map[string]string{}},
	{"an identifier string whose length is too short", "820400746573746e616d65900500525602da0078", "VPD offset", map[string]string{}},
	{"no VPD-R", "820800746573746e616d6578", "there is no VPD-R", map[string]string{}},
	{"no RV", "820800746573746e616d65901600504e02343245430434323432564102455878", "VPD offset", map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX"}},
	{"a wrong checksum", "820800746573746e616d65901600504e023432454304343234325641024558525602ff0078", "the checksum is wrong", map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX"}},
	{"an RV of length zero", "820800746573746e616d65901400504e02343245430434323432564102455852560078", "RV is empty", map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX"}},
	{"RW in VPD-R", "820800746573746e616d65901b00504e0234324543043432343256410245585257020000525602810078", "RW does not belong in VPD-R", map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX"}},
	{"an unprintable identifier string", "820800740373746e616d65900a00534e0204025256028a0078", "identifier string is not printable", map[string]string{}},
	{"a serial number that runs past VPD-R", "820800746573746e616d65900a00534e420402525602e80078", "field SN of 66 bytes runs past the end of VPD-R", map[string]string{}},
	{"a field behind RV", "820800746573746e616d65900a00525602d100534e02040278", "RV is not the last field of VPD-R: 5 bytes follow", map[string]string{}},
	{"a field behind RW", "820800746573746e616d65901600504e0234324543043432343256410245585256023100910800525700565a02343278", "RW is not the last field of VPD-W: 5 bytes follow",
		map[string]string{"R PN": "42", "R EC": "4242", "R VA": "EX", "W VZ": "42"}},
	{"nothing", "", "there are no data", nil},
	{"all ones", "ffffffffffffffffffffffff", "all ones", nil},
	{"a resource that ends in its header", "8201", "within the header", nil},
	{"RV in VPD-W", "82010058900700534e00525601449104005256010178", "RV does not belong in VPD-W", map[string]string{"R SN": ""}},
	{"a byte left behind the last field of VPD-W", "82010058900700534e0052560144910100ff78", "1 bytes are left in VPD-W", map[string]string{"R SN": ""}},
	{"data that end within VPD-R", "82010058901500534e054649525354534e06", "the data end within resource 0x90", map[string]string{"R SN": "FIRST"}},
	{"no end tag", "82010058900700534e0052560144", "without an end tag", map[string]string{"R SN": ""}},
}

func bin(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}
