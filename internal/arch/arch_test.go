package arch_test

import (
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/riser-project/riser/internal/arch"
)

// layers is the structure of this module. ARCHITECTURE.md has the same table with the packages' duties; change both in one commit.
var layers = arch.Layers{
	Of: map[string]int{
		"config":    0,
		"failpoint": 0,
		"fault":     0,

		"network": 1,
		"node":    1,
		"pci":     1,

		"agent/wire": 2,
		"client":     2,
		"devlink":    2,
		"driver":     2,
		"ovsdb":      2,
		"pci/vpd":    2,
		"store":      2,
		"virt":       2,

		"network/fake":    3,
		"network/neutron": 3,
		"network/ovn":     3,
		"pci/nodedev":     3,
		"pci/sysfs":       3,
		"shard":           3,
		"step":            3,
		"trust":           3,
		"virt/fake":       3,
		"virt/libvirt":    3,
		"virt/remote":     3,

		"driver/bluefield": 4,
		"driver/fake":      4,
		"driver/ipmi":      4,
		"driver/redfish":   4,
		"driver/ssh":       4,
		"enrol":            4,
		"step/steps":       4,

		"auth":      5,
		"binding":   5,
		"conductor": 5,
		"placement": 5,

		"agent/dpu":  6,
		"agent/host": 6,
		"agent/join": 6,
		"api/rest":   6,
		"instance":   6,

		"api/agents":     7,
		"api/baremetal":  7,
		"api/compute":    7,
		"api/networking": 7,

		"cli":  8,
		"demo": 8,
		"web":  8,

		"cmd/riser":       9,
		"cmd/riser-agent": 9,
	},

	// Simulators are for tests, for the demo and for the program that offers them as a command; all else here is for tests alone.
	Outside: map[string][]string{
		"internal/sim":        {"demo", "cmd/riser"},
		"test/engine":         nil,
		"test":                nil,
		"internal/arch":       nil,
		"internal/lab":        nil,
		"driver/drivertest":   nil,
		"network/networktest": nil,
		"store/storetest":     nil,
		"virt/virttest":       nil,
	},
}

// choices are the packages that stand in a list of drivers, steps, network backends or virt drivers.
var choices = []string{
	"driver/bluefield", "driver/fake", "driver/ipmi", "driver/redfish", "driver/ssh",
	"network/fake", "network/neutron", "network/ovn",
	"step/steps",
	"virt/fake", "virt/libvirt",
}

// mayExec has the packages that start other programs, with the reason. Shipped code has none: what riser needs it does itself.
var mayExec = map[string]string{
	"internal/lab": "starts the real daemons of the integration tests",
}

// repository is the module's root. Its files are opened by this process, so that go test sees each of them and each directory, and runs
// the tests anew when one has changed.
func repository() fs.FS { return os.DirFS("../..") }

func load(t *testing.T) *arch.Tree {
	t.Helper()
	tree, err := arch.Load(repository())
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func report(t *testing.T, problems []arch.Problem) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

func TestImportsGoStrictlyDownTheLayers(t *testing.T) {
	report(t, layers.Check(load(t)))
}

func TestDriversStepsAndBackendsAreChosenOnlyInPrograms(t *testing.T) {
	report(t, layers.Wired(load(t), choices, []string{"cmd"}))
}

func TestTheAgentNeverLinksStoreConductorOrAPI(t *testing.T) {
	report(t, arch.Links(load(t), "cmd/riser-agent", []string{"store", "conductor", "api"}))
}

func TestNoPackageHasAnInitFunction(t *testing.T) {
	report(t, arch.Inits(load(t)))
}

func TestPackagesAreNamedForWhatTheyProvide(t *testing.T) {
	report(t, arch.Names(load(t), []string{"util", "utils", "common", "helper", "helpers", "base", "types", "model", "models", "misc"}))
}

func TestEveryPackageHasAPackageComment(t *testing.T) {
	report(t, arch.Comments(load(t)))
}

func TestShippedCodeStartsNoOtherPrograms(t *testing.T) {
	report(t, arch.Imports(load(t), "os/exec", mayExec))
}

func TestDocumentsNameOnlyWhatExists(t *testing.T) {
	docs, err := arch.Documents(repository())
	if err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"} {
		if !slices.Contains(docs, must) {
			t.Errorf("%s is missing", must)
		}
	}
	// The changelog tells what was, and names what is gone.
	docs = slices.DeleteFunc(docs, func(name string) bool { return name == "CHANGELOG.md" })

	var roots []string
	for p := range maps.Keys(layers.Of) {
		top, _, _ := strings.Cut(p, "/")
		roots = append(roots, top)
	}
	problems, err := arch.Docs(repository(), docs, roots)
	if err != nil {
		t.Fatal(err)
	}
	report(t, problems)
}

func TestTheLayerTableOfArchitectureIsTheOneThatIsChecked(t *testing.T) {
	doc, err := fs.ReadFile(repository(), "ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	report(t, layers.Documented(load(t), "ARCHITECTURE.md", doc))
}
