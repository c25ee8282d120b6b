package driver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/riser-project/riser/fault"
)

// GenericRaw is the hardware profile of every machine that speaks IPMI. What it allows, all others allow too.
const GenericRaw = "generic"

// BlueFieldRaw is the hardware profile of BlueField cards.
const BlueFieldRaw = "bluefield"

// RawRule allows a raw command for the machines of a hardware profile.
type RawRule struct {
	Profile string // GenericRaw, BlueFieldRaw, or a name of the operator's own
	NetFn   byte
	Command byte
	Data    []byte // with which the data must begin; empty allows any
	Tell    string // what the command does
}

// String writes the rule as ParseRawRule reads it.
func (r RawRule) String() string {
	return r.Profile + ":" + FormatRaw(append([]byte{r.NetFn, r.Command}, r.Data...))
}

func (r RawRule) allows(request []byte) bool {
	return len(request) >= 2 && request[0] == r.NetFn && request[1] == r.Command && bytes.HasPrefix(request[2:], r.Data)
}

// rawRules is what is allowed without a word of the operator: of the generic commands those that read, and the chassis commands (IPMI 2.0,
// appendix G; DCMI 1.5, chapter 6); of a BlueField's own those that read, open and close the card, and restart its processor (BlueField BMC
// software, "NVIDIA OEM Commands"). Accounts, LAN settings, resets to factory defaults and recovery modes are not in it.
var rawRules = []RawRule{
	{GenericRaw, 0x00, 0x00, nil, "Get Chassis Capabilities"},
	{GenericRaw, 0x00, 0x01, nil, "Get Chassis Status"},
	{GenericRaw, 0x00, 0x02, nil, "Chassis Control"},
	{GenericRaw, 0x00, 0x04, nil, "Chassis Identify"},
	{GenericRaw, 0x00, 0x06, nil, "Set Power Restore Policy"},
	{GenericRaw, 0x00, 0x07, nil, "Get System Restart Cause"},
	{GenericRaw, 0x00, 0x08, nil, "Set System Boot Options"},
	{GenericRaw, 0x00, 0x09, nil, "Get System Boot Options"},
	{GenericRaw, 0x00, 0x0f, nil, "Get POH Counter"},
	{GenericRaw, 0x04, 0x20, nil, "Get Device SDR Info"},
	{GenericRaw, 0x04, 0x21, nil, "Get Device SDR"},
	{GenericRaw, 0x04, 0x23, nil, "Get Sensor Reading Factors"},
	{GenericRaw, 0x04, 0x27, nil, "Get Sensor Thresholds"},
	{GenericRaw, 0x04, 0x2d, nil, "Get Sensor Reading"},
	{GenericRaw, 0x04, 0x2f, nil, "Get Sensor Type"},
	{GenericRaw, 0x06, 0x01, nil, "Get Device ID"},
	{GenericRaw, 0x06, 0x04, nil, "Get Self Test Results"},
	{GenericRaw, 0x06, 0x08, nil, "Get Device GUID"},
	{GenericRaw, 0x06, 0x37, nil, "Get System GUID"},
	{GenericRaw, 0x06, 0x42, nil, "Get Channel Info"},
	{GenericRaw, 0x0a, 0x10, nil, "Get FRU Inventory Area Info"},
	{GenericRaw, 0x0a, 0x11, nil, "Read FRU Data"},
	{GenericRaw, 0x0a, 0x20, nil, "Get SDR Repository Info"},
	{GenericRaw, 0x0a, 0x22, nil, "Reserve SDR Repository"},
	{GenericRaw, 0x0a, 0x23, nil, "Get SDR"},
	{GenericRaw, 0x0a, 0x40, nil, "Get SEL Info"},
	{GenericRaw, 0x0a, 0x42, nil, "Reserve SEL"},
	{GenericRaw, 0x0a, 0x43, nil, "Get SEL Entry"},
	{GenericRaw, 0x0a, 0x48, nil, "Get SEL Time"},
	{GenericRaw, 0x2c, 0x01, []byte{0xdc}, "Get DCMI Capabilities Info"},
	{GenericRaw, 0x2c, 0x02, []byte{0xdc}, "Get DCMI Power Reading"},

	{BlueFieldRaw, 0x32, 0x68, nil, "get the vendor field mode"},
	{BlueFieldRaw, 0x32, 0x69, nil, "get the state of the controller's rshim"},
	{BlueFieldRaw, 0x32, 0x6a, nil, "stop or start the controller's rshim"},
	{BlueFieldRaw, 0x32, 0x97, nil, "get the mode of the 3-port switch"},
	{BlueFieldRaw, 0x32, 0x9a, nil, "get what the host may do"},
	{BlueFieldRaw, 0x32, 0x9b, nil, "set what the host may do"},
	{BlueFieldRaw, 0x32, 0x9c, nil, "get the mode: DPU or NIC"},
	{BlueFieldRaw, 0x32, 0x9d, nil, "set the mode: DPU or NIC"},
	{BlueFieldRaw, 0x32, 0xa1, []byte{0x02}, "restart the card's processor"},
	{BlueFieldRaw, 0x32, 0xa3, nil, "get the state of the card's system"},
}

// RawList says which raw commands machines may be sent. The zero value allows none.
type RawList struct {
	rules []RawRule
}

// NewRawList is riser's own list with the operator's rules after it. A rule with a new profile makes that profile.
func NewRawList(more ...RawRule) RawList {
	return RawList{slices.Concat(rawRules, more)}
}

// Profiles lists the hardware profiles, sorted.
func (l RawList) Profiles() []string {
	var names []string
	for _, r := range l.rules {
		names = append(names, r.Profile)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Rules lists what the machines of a profile may be sent: what is generic, then what is the profile's own.
func (l RawList) Rules(profile string) []RawRule {
	rules := slices.DeleteFunc(slices.Clone(l.rules), func(r RawRule) bool { return r.Profile != GenericRaw })
	if profile != GenericRaw {
		rules = append(rules, slices.DeleteFunc(slices.Clone(l.rules), func(r RawRule) bool { return r.Profile != profile })...)
	}
	return rules
}

// Check refuses a request that is not on the list of a profile. The error is fault.Forbidden, names the list, what it has for the network
// function, and the setting that extends it. A request that is no raw command at all is fault.Invalid.
func (l RawList) Check(profile string, request []byte) error {
	if len(request) < 2 || request[0] > 0x3f || request[0]&1 == 1 {
		return fault.New(fault.Invalid, "a raw command is a network function (even, 0x00 to 0x3e), a command, and data")
	}
	var near []string
	for _, r := range l.Rules(profile) {
		if r.allows(request) {
			return nil
		}
		if r.NetFn == request[0] {
			near = append(near, FormatRaw(append([]byte{r.Command}, r.Data...)))
		}
	}
	has := fmt.Sprintf("nothing for network function 0x%02x", request[0])
	if len(near) > 0 {
		has = fmt.Sprintf("for network function 0x%02x: %s", request[0], strings.Join(near, ", "))
	}
	return fault.New(fault.Forbidden, `raw command %s is not on the list of hardware profile %q, which has %s; an operator adds it with --allow-raw %q`,
		FormatRaw(request[:2]), profile, has, RawRule{Profile: profile, NetFn: request[0], Command: request[1]}.String())
}

// ParseRawRule reads a rule as the setting --allow-raw has it: "PROFILE:NETFN COMMAND [DATA...]", where more data may follow. Without a profile
// it is generic, for all machines. "bluefield:0x32 0x92" is an example.
func ParseRawRule(text string) (RawRule, error) {
	profile, words, named := strings.Cut(text, ":")
	if !named {
		profile, words = GenericRaw, text
	}
	request, err := ParseRaw(words)
	if err != nil || !isProfile(profile) || request[0] > 0x3f || request[0]&1 == 1 {
		return RawRule{}, fault.New(fault.Invalid, `%.60q does not allow a raw command: want [PROFILE:]NETFN COMMAND [DATA...] such as "bluefield:0x32 0x92", `+
			"the network function even and at most 0x3e, the profile of small letters, digits and hyphens", text)
	}
	return RawRule{Profile: profile, NetFn: request[0], Command: request[1], Data: request[2:], Tell: "allowed by the operator"}, nil
}

// ParseRawRules reads all rules of the setting. The error is that of the first that is wrong.
func ParseRawRules(texts []string) ([]RawRule, error) {
	rules := make([]RawRule, 0, len(texts))
	for _, text := range texts {
		r, err := ParseRawRule(text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func isProfile(name string) bool {
	return name != "" && len(name) <= 40 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
