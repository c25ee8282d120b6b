package libvirt_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/virt"
	"github.com/riser-project/riser/virt/libvirt"
)

const id = "5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0001"

func open(t *testing.T, o libvirt.Options) *libvirt.Driver {
	t.Helper()
	d, err := libvirt.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestADomainIsWrittenAsLibvirtReadsIt(t *testing.T) {
	got, err := open(t, libvirt.Options{}).XML(virt.Domain{
		ID: id, Name: "web\nserver", VCPUs: 2, MemoryMB: 96, Image: "cirros.qcow2",
		Functions: []virt.Function{{Address: "0000:82:00.3", MAC: "fa:16:3e:00:00:01"}, {Address: "0001:82:1f.7", MAC: "fa:16:3e:00:00:02"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `<domain type="kvm">
  <name>riser-5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0001</name>
  <uuid>5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0001</uuid>
  <title>web server</title>
  <memory unit="MiB">96</memory>
  <vcpu>2</vcpu>
  <os>
    <type arch="x86_64" machine="q35">hvm</type>
  </os>
  <features>
    <acpi></acpi>
  </features>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2"></driver>
      <source file="/var/lib/libvirt/images/cirros.qcow2"></source>
      <target dev="vda" bus="virtio"></target>
      <transient shareBacking="yes"></transient>
    </disk>
    <interface type="hostdev" managed="yes">
      <mac address="fa:16:3e:00:00:01"></mac>
      <source>
        <address type="pci" domain="0x0000" bus="0x82" slot="0x00" function="0x3"></address>
      </source>
    </interface>
    <interface type="hostdev" managed="yes">
      <mac address="fa:16:3e:00:00:02"></mac>
      <source>
        <address type="pci" domain="0x0001" bus="0x82" slot="0x1f" function="0x7"></address>
      </source>
    </interface>
    <console type="pty"></console>
  </devices>
</domain>`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("XML (-want +got):\n%s", d)
	}
}

func TestWhatIsNoDomain(t *testing.T) {
	d := open(t, libvirt.Options{})
	for name, v := range map[string]virt.Domain{
		"an address that is none":         {ID: id, Functions: []virt.Function{{Address: "82:00.3", MAC: "fa:16:3e:00:00:01"}}},
		"a function without a MAC":        {ID: id, Functions: []virt.Function{{Address: "0000:82:00.3"}}},
		"an image outside of its folder":  {ID: id, Image: "../shadow"},
		"an image with an absolute path":  {ID: id, Image: "/etc/shadow"},
		"the folder of images as a whole": {ID: id, Image: ".."},
	} {
		t.Run(name, func(t *testing.T) {
			if text, err := d.XML(v); !fault.Is(err, fault.Invalid) {
				t.Errorf("XML %q, error %v; want it refused", text, err)
			}
		})
	}
}

func TestWhatIsNoLibvirtOfThisMachine(t *testing.T) {
	for name, o := range map[string]libvirt.Options{
		"another machine":         {URI: "qemu://host/system"},
		"over SSH":                {URI: "qemu+ssh:///system"},
		"no URI":                  {URI: "::"},
		"a relative image folder": {Images: "images"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := libvirt.Open(o); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestALibvirtThatIsAwayIsUnavailable(t *testing.T) {
	d := open(t, libvirt.Options{URI: "qemu:///system?socket=" + filepath.Join(t.TempDir(), "none")})
	for name, do := range map[string]func() error{
		"state":   func() error { _, err := d.State(t.Context(), id); return err },
		"define":  func() error { return d.Define(t.Context(), virt.Domain{ID: id}) },
		"start":   func() error { return d.Start(t.Context(), id) },
		"stop":    func() error { return d.Stop(t.Context(), id, false) },
		"destroy": func() error { return d.Destroy(t.Context(), id) },
		"detach":  func() error { return d.Detach(t.Context(), id, "0000:82:00.3") },
		"version": func() error { _, err := d.Version(t.Context()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if err := do(); !fault.Is(err, fault.Unavailable) {
				t.Errorf("error %v after %s, want it unavailable", err, time.Since(start))
			}
		})
	}
}
