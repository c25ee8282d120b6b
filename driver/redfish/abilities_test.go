package redfish_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
)

// sent lists what a controller was told, without readings and log-ins.
func sent(m *bmc.Machine) []string {
	var list []string
	for _, r := range m.Controller.Changes() {
		list = append(list, r.Method+" "+strings.TrimPrefix(r.Path, "/redfish/v1")+" "+r.Body)
	}
	return list
}

func wantSent(t *testing.T, m *bmc.Machine, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, sent(m)); d != "" {
		t.Errorf("the controller received (-want +got):\n%s", d)
	}
	m.Controller.Forget()
}

func restart(t *testing.T, c driver.Power, m *bmc.Machine) {
	t.Helper()
	if _, err := driver.ChangePower(t.Context(), c, nil, node.PowerOff, hasty); err != nil {
		t.Fatal(err)
	}
	if _, err := driver.ChangePower(t.Context(), c, nil, node.PowerOn, hasty); err != nil {
		t.Fatal(err)
	}
	m.Controller.Forget()
}

func TestBIOS(t *testing.T) {
	m := server(t, bmc.Options{Timing: quick}).Host
	c := connect(t, newDriver(), nodeOf(m, nil))
	if err := c.ApplySettings(t.Context(), []driver.Setting{{Name: "LogicalProc", Value: "Disabled"}}); err != nil {
		t.Fatal(err)
	}
	wantSent(t, m, `PATCH /Systems/1/Bios/Settings {"Attributes":{"LogicalProc":"Disabled"}}`)
	pending, err := c.Pending(t.Context())
	if d := cmp.Diff([]driver.Setting{{Name: "LogicalProc", Value: "Disabled"}}, pending); d != "" || err != nil {
		t.Errorf("pending (-want +got):\n%s%v", d, err)
	}
	restart(t, c, m)
	settings, err := c.Settings(t.Context())
	want := []driver.Setting{{Name: "BootMode", Value: "Uefi"}, {Name: "LogicalProc", Value: "Disabled"}, {Name: "NumLock", Value: "On"}, {Name: "ProcVirtualization", Value: "Enabled"}, {Name: "SriovGlobalEnable", Value: "Enabled"}}
	if d := cmp.Diff(want, settings); d != "" || err != nil {
		t.Errorf("settings (-want +got):\n%s%v", d, err)
	}
	if err := c.ApplySettings(t.Context(), []driver.Setting{{Name: "Turbo", Value: 1}}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "has no BIOS setting Turbo") {
		t.Errorf("an unknown setting: %v", err)
	}
	if err := c.ApplySettings(t.Context(), nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("no settings: %v", err)
	}
	if err := c.ResetSettings(t.Context()); err != nil {
		t.Error(err)
	}
	wantSent(t, m, "POST /Systems/1/Bios/Actions/Bios.ResetBios {}")
}

func TestSecureBootAndBootMode(t *testing.T) {
	m := server(t, bmc.Options{Timing: quick}).Host
	c := connect(t, newDriver(), nodeOf(m, nil))
	if err := c.SetSecureBoot(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	wantSent(t, m, `PATCH /Systems/1/SecureBoot {"SecureBootEnable":true}`)
	if on, err := c.SecureBoot(t.Context()); on || err != nil {
		t.Errorf("secure boot is %v before a restart, %v", on, err)
	}
	restart(t, c, m)
	if on, err := c.SecureBoot(t.Context()); !on || err != nil {
		t.Errorf("secure boot is %v after a restart, %v", on, err)
	}
	if err := c.ResetKeys(t.Context(), "DeleteAllKeys"); err != nil {
		t.Error(err)
	}
	wantSent(t, m, `POST /Systems/1/SecureBoot/Actions/SecureBoot.ResetKeys {"ResetKeysType":"DeleteAllKeys"}`)

	if err := c.SetBootMode(t.Context(), "bios"); err != nil {
		t.Fatal(err)
	}
	wantSent(t, m, `PATCH /Systems/1 {"Boot":{"BootSourceOverrideMode":"Legacy"}}`)
	if mode, err := c.BootMode(t.Context()); mode != "bios" || err != nil {
		t.Errorf("boot mode %q, %v", mode, err)
	}
	if err := c.SetBootMode(t.Context(), "coreboot"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a mode there is not: %v", err)
	}
	if err := m.Controller.Tell("boot-forgotten"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetBootMode(t.Context(), "uefi"); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), `accepted the boot mode uefi but still has "bios"`) {
		t.Errorf("a forgotten mode: %v", err)
	}
}

func TestVirtualMedia(t *testing.T) {
	s := server(t, bmc.Options{})
	m := s.Host
	c := connect(t, newDriver(), nodeOf(m, nil))
	const one, two = "http://images.example/one.iso", "https://images.example/two.iso"
	for _, image := range []string{one, one, two} {
		if err := c.InsertMedia(t.Context(), "cdrom", image); err != nil {
			t.Fatal(err)
		}
	}
	wantSent(t, m,
		`POST /Managers/1/VirtualMedia/CD/Actions/VirtualMedia.InsertMedia {"Image":"`+one+`","Inserted":true,"WriteProtected":true}`,
		`POST /Managers/1/VirtualMedia/CD/Actions/VirtualMedia.EjectMedia {}`,
		`POST /Managers/1/VirtualMedia/CD/Actions/VirtualMedia.InsertMedia {"Image":"`+two+`","Inserted":true,"WriteProtected":true}`)
	media, err := c.Media(t.Context())
	want := []driver.Media{{ID: "CD", Kinds: []string{"cdrom"}, Image: two}, {ID: "RemovableDisk", Kinds: []string{"disk"}}}
	if d := cmp.Diff(want, media); d != "" || err != nil {
		t.Errorf("media (-want +got):\n%s%v", d, err)
	}
	if _, err := c.CallVendor(t.Context(), "eject_vmedia", "POST", node.Object{"boot_device": "cdrom"}); err != nil {
		t.Error(err)
	}
	if err := c.EjectMedia(t.Context(), ""); err != nil {
		t.Error(err)
	}
	wantSent(t, m, `POST /Managers/1/VirtualMedia/CD/Actions/VirtualMedia.EjectMedia {}`)
	for name, err := range map[string]error{
		"a file":               c.InsertMedia(t.Context(), "cdrom", "file:///etc/passwd"),
		"credentials in a URL": c.InsertMedia(t.Context(), "cdrom", "http://u:p@images.example/x.iso"),
		"a kind there is not":  c.InsertMedia(t.Context(), "tape", one),
	} {
		if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := connect(t, newDriver(), nodeOf(s.Cards[0], nil)).InsertMedia(t.Context(), "cdrom", one); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a card has virtual media: %v", err)
	}
}

func TestVendorMethodsRefuseWhatTheyDoNotKnow(t *testing.T) {
	c := connect(t, newDriver(), nodeOf(server(t, bmc.Options{}).Host, nil))
	for name, call := range map[string]struct {
		method, http string
		args         node.Object
	}{
		"another method":      {"create_account", "POST", nil},
		"another HTTP method": {"eject_vmedia", "DELETE", nil},
		"another argument":    {"eject_vmedia", "POST", node.Object{"path": "/redfish/v1/AccountService/Accounts/1"}},
		"another drive":       {"eject_vmedia", "POST", node.Object{"boot_device": "tape"}},
	} {
		if _, err := c.CallVendor(t.Context(), call.method, call.http, call.args); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFirmware(t *testing.T) {
	m := server(t, bmc.Options{Timing: quick}).Cards[0]
	c := connect(t, newDriver(), nodeOf(m, nil))
	list, err := c.Components(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, part := range list {
		versions[part.ID] = part.Version
	}
	if versions["DPU_NIC"] != "32.43.1014" || versions["golden_image_arm"] != "" {
		t.Errorf("versions %v", versions)
	}
	u, err := c.UpdateFirmware(t.Context(), "BMC_Firmware", "http://images.example/bf3-bmc-24.10-20.fwpkg")
	if err != nil || u.Task == "" || u.Done {
		t.Fatalf("%+v, %v", u, err)
	}
	wantSent(t, m, `POST /UpdateService/Actions/UpdateService.SimpleUpdate {"ImageURI":"http://images.example/bf3-bmc-24.10-20.fwpkg",`+
		`"Targets":["/redfish/v1/UpdateService/FirmwareInventory/BMC_Firmware"],"TransferProtocol":"HTTP"}`)
	if _, err := c.UpdateFirmware(t.Context(), "", "http://images.example/x"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "An update is in progress.") {
		t.Errorf("a second update at once: %v", err)
	}
	for end := time.Now().Add(20 * time.Second); !u.Done && time.Now().Before(end); {
		if u, err = c.UpdateState(t.Context(), u.Task); err != nil {
			t.Fatal(err)
		}
	}
	if !u.Done || u.Percent != 100 {
		t.Errorf("the update ended as %+v", u)
	}
	if err := c.ResetManager(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := c.ManagerVersion(t.Context()); v != "BF-24.10-20" || err != nil {
		t.Errorf("version %q, %v", v, err)
	}
}

func TestPushFirmware(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := connect(t, newDriver(), nodeOf(m, nil))
	image := bytes.Repeat([]byte("firmware"), 1<<17)
	u, err := c.PushFirmware(t.Context(), "BIOS", "bios.bin", bytes.NewReader(image), int64(len(image)))
	if err != nil || u.Task == "" {
		t.Fatalf("%+v, %v", u, err)
	}
	if got := m.Controller.Changes(); len(got) != 1 || got[0].Path != "/redfish/v1/UpdateService/update-multipart" || got[0].Size <= int64(len(image)) {
		t.Errorf("the controller received %+v", got)
	}
	if _, err := c.PushFirmware(t.Context(), "BIOS", "bfb", bytes.NewReader(nil), 1<<30); !fault.Is(err, fault.TooLarge) {
		t.Errorf("an image of 1 GiB: %v", err)
	}
}

func TestSensors(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := connect(t, newDriver(), nodeOf(m, nil))
	list, err := c.Sensors(t.Context())
	want := []driver.Sensor{
		{ID: "/redfish/v1/Chassis/1/Sensors/inlet", Name: "Inlet Temp", Kind: "Temperature", Reading: 21, Unit: "Cel", Health: "OK"},
		{ID: "/redfish/v1/Chassis/1/Sensors/cpu1", Name: "CPU1 Temp", Kind: "Temperature", Reading: 42, Unit: "Cel", Health: "OK"},
		{ID: "/redfish/v1/Chassis/1/Sensors/psu1", Name: "PSU1 Input Power", Kind: "Power", Reading: 212, Unit: "W", Health: "OK"},
	}
	if d := cmp.Diff(want, list); d != "" || err != nil {
		t.Errorf("sensors (-want +got):\n%s%v", d, err)
	}
}

func TestIndicators(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := connect(t, newDriver(), nodeOf(m, nil))
	list, err := c.Indicators(t.Context())
	if d := cmp.Diff([]driver.Indicator{{Component: "system", ID: "1", States: []string{"on", "off"}}}, list); d != "" || err != nil {
		t.Errorf("indicators (-want +got):\n%s%v", d, err)
	}
	if err := c.SetIndicator(t.Context(), "system", "1", "on"); err != nil {
		t.Fatal(err)
	}
	wantSent(t, m, `PATCH /Systems/1 {"LocationIndicatorActive":true}`)
	if state, err := c.Indicator(t.Context(), "system", "1"); state != "on" || err != nil {
		t.Errorf("state %q, %v", state, err)
	}
	if err := c.SetIndicator(t.Context(), "system", "1", "blinking"); !fault.Is(err, fault.Invalid) {
		t.Errorf("blinking: %v", err)
	}
	if _, err := c.Indicator(t.Context(), "disk", "1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a lamp there is not: %v", err)
	}
}

func TestInventory(t *testing.T) {
	c := connect(t, newDriver(), nodeOf(server(t, bmc.Options{Number: 2}).Host, nil))
	got, err := c.Inventory(t.Context())
	want := driver.Inventory{
		Processors: 64, Arch: "x86_64", MemoryMiB: 256 * 1024, MACs: []string{"d0:8e:79:00:02:01", "d0:8e:79:00:02:02"}, BootMode: "uefi", BIOS: "2.19.1",
		Disks: []driver.Disk{{Name: "Drive 0", Serial: "DRVSRV0001002", Bytes: 960197124096}},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("inventory (-want +got):\n%s%v", d, err)
	}
}

func TestVolumes(t *testing.T) {
	c := connect(t, newDriver(), nodeOf(server(t, bmc.Options{}).Host, nil))
	got, err := c.Volumes(t.Context())
	want := []driver.Volume{{ID: "0", Name: "Virtual Disk 0", Controller: "1", Level: "RAID1", Bytes: 960197124096, Health: "OK", Disks: []string{"0"}}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("volumes (-want +got):\n%s%v", d, err)
	}
}

func TestNMIAndClock(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := connect(t, newDriver(), nodeOf(m, nil))
	if err := c.InjectNMI(t.Context()); err != nil {
		t.Error(err)
	}
	wantSent(t, m, `POST /Systems/1/Actions/ComputerSystem.Reset {"ResetType":"Nmi"}`)
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := c.SetControllerTime(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if now, err := c.ControllerTime(t.Context()); err != nil || now.Sub(at).Abs() > 5*time.Second {
		t.Errorf("the clock says %s, %v", now, err)
	}
}
