package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/vpd"
)

// local returns the commands that need no server.
func (a *app) local(root *cobra.Command) []*cobra.Command {
	return []*cobra.Command{
		group("api", "The API's versions", a.apiVersions()),
		group("pci", "PCI cards of this machine", a.pciVPD()),
		{Use: "version", Short: "Show the version of this program", RunE: func(*cobra.Command, []string) error {
			return a.version()
		}},
		completion(root),
	}
}

func (a *app) version() error {
	v := object{"version": a.o.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	format, err := a.format()
	if err != nil || format == "table" {
		a.say("riser %s (%s, %s)", a.o.Version, v["go"], v["platform"])
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.data(format, raw)
}

func completion(root *cobra.Command) *cobra.Command {
	cmd := group("completion", "Write a script that makes a shell complete riser's commands")
	cmd.Long = cmd.Short + ".\n\n  bash:  source <(riser completion bash)\n  zsh:   riser completion zsh > \"${fpath[1]}/_riser\"\n" +
		"  fish:  riser completion fish > ~/.config/fish/completions/riser.fish"
	for _, shell := range []struct {
		name string
		make func(cmd *cobra.Command) error
	}{
		{"bash", func(cmd *cobra.Command) error { return root.GenBashCompletionV2(cmd.OutOrStdout(), true) }},
		{"zsh", func(cmd *cobra.Command) error { return root.GenZshCompletion(cmd.OutOrStdout()) }},
		{"fish", func(cmd *cobra.Command) error { return root.GenFishCompletion(cmd.OutOrStdout(), true) }},
	} {
		cmd.AddCommand(&cobra.Command{Use: shell.name, Short: "For " + shell.name, RunE: func(cmd *cobra.Command, _ []string) error { return shell.make(cmd) }})
	}
	return cmd
}

func (a *app) apiVersions() *cobra.Command {
	return &cobra.Command{Use: "versions", Short: "Show what each version of the bare-metal API brought", RunE: func(*cobra.Command, []string) error {
		items := make([]json.RawMessage, len(a.o.History))
		for i, c := range a.o.History {
			raw, err := json.Marshal(object{"version": fmt.Sprintf("1.%d", c.Minor), "brought": c.Text})
			if err != nil {
				return err
			}
			items[i] = raw
		}
		return a.list([]column{{title: "VERSION", path: "version"}, {title: "BROUGHT", path: "brought"}}, items)
	}}
}

// pciDevices is where Linux has a directory for each PCI function.
const pciDevices = "/sys/bus/pci/devices"

// pciVPD shows what a card says of itself.
func (a *app) pciVPD() *cobra.Command {
	return &cobra.Command{
		Use: "vpd SOURCE", Short: "Show a card's Vital Product Data",
		Long: "Show a card's Vital Product Data. SOURCE is a file, the PCI address of a function of this machine, or - for the standard input.\n\n" +
			"What libvirt, and so riser, would not accept is told, and makes the command fail.",
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := a.vpdBytes(args[0])
			if err != nil {
				return cannot("read the VPD of "+args[0], err)
			}
			v, defects, err := vpd.ParseLenient(data)
			if err != nil {
				return cannot("read the VPD of "+args[0], err)
			}
			if err := a.showVPD(v, defects); err != nil {
				return err
			}
			if len(defects) > 0 {
				return fmt.Errorf("the VPD of %s is not valid: %w", args[0], defects[0])
			}
			return nil
		},
	}
}

func (a *app) vpdBytes(source string) ([]byte, error) {
	if _, err := pci.ParseAddress(source); err == nil {
		path := filepath.Join(pciDevices, strings.ToLower(source), "vpd")
		data, err := os.ReadFile(path) //nolint:gosec // below sysfs
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("this machine has no function there, or the function has no VPD: %w", err)
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("only root may read it: %w", err)
		}
		return data, err
	}
	return a.read(source)
}

// vpdField is a field of a VPD for programs.
type vpdField struct {
	Section string `json:"section"`
	Keyword string `json:"keyword"`
	Text    bool   `json:"text"`
	Value   string `json:"value"`
}

func (a *app) showVPD(v *vpd.VPD, defects []*vpd.Defect) error {
	identity := v.Identity()
	fields := make([]vpdField, len(v.Fields))
	for i, f := range v.Fields {
		fields[i] = vpdField{Section: f.Section.String(), Keyword: f.Keyword.String(), Text: f.Text, Value: f.Value}
		if !f.Text {
			fields[i].Value = fmt.Sprintf("%x", f.Value)
		}
	}
	forgiven := make([]string, len(defects))
	for i, d := range defects {
		forgiven[i] = d.Error()
	}
	format, err := a.format()
	if err != nil {
		return err
	}
	if format != "table" {
		raw, err := json.Marshal(object{
			"name": v.Name, "serial": v.SerialNumber(), "part_number": v.PartNumber(), "uuid": v.UUID(), "problem": identity.Problem, "fields": fields,
			"defects": forgiven, "valid": len(defects) == 0,
		})
		if err != nil {
			return err
		}
		return a.data(format, raw)
	}
	a.say("%s", brief(v.Name))
	rows := make([][]string, len(fields))
	for i, f := range fields {
		rows[i] = []string{f.Section, printable(f.Keyword, false), printable(meaning(v.Fields[i]), false), printable(f.Value, false)}
	}
	a.table([]string{"SECTION", "KEYWORD", "MEANING", "VALUE"}, rows)
	if identity.Problem != "" {
		a.say("this card cannot be told from others: %s", identity.Problem)
	}
	for _, d := range forgiven {
		a.say("forgiven: %s", d)
	}
	return nil
}

// meaning says what the specification has a keyword for.
func meaning(f vpd.Field) string {
	switch k := f.Keyword; {
	case f.Section == vpd.ReadWrite && k == vpd.AssetTag:
		return "asset tag"
	case k == vpd.PartNumber:
		return "part number"
	case k == vpd.EngineeringChange:
		return "engineering change"
	case k == vpd.ManufactureID:
		return "manufacture ID"
	case k == vpd.SerialNumber:
		return "serial number"
	case k == vpd.Capability:
		return "capability"
	case k[0] == 'V':
		return "vendor's own"
	case k[0] == 'Y':
		return "system's own"
	}
	return "-"
}
