package baremetal_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/noauth"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/allocations"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/conductors"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/drivers"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/ports"

	"github.com/riser-project/riser/node"
)

// foreign is a client that knows nothing of riser.
type foreign struct {
	*server
	*gophercloud.ServiceClient
	ctx context.Context
}

func newForeign(t *testing.T) *foreign {
	s := newServer(t).conducted()
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	client, err := noauth.NewBareMetalNoAuth(noauth.EndpointOpts{IronicEndpoint: web.URL + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = "1.109"
	return &foreign{s, client, t.Context()}
}

// ok fails the test when a step of it did not work.
func (f *foreign) ok(what string, err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%s: %v", what, err)
	}
}

// comes waits for a node to rest in a state.
func (f *foreign) comes(id string, want nodes.ProvisionState) {
	f.Helper()
	f.until(id+" is "+string(want), func() bool {
		n, err := nodes.Get(f.ctx, f.ServiceClient, id).Extract()
		f.ok("get", err)
		return n.ProvisionState == string(want) && n.Reservation == ""
	})
}

func TestGophercloudManagesANode(t *testing.T) {
	f := newForeign(t)
	c, ctx := f.ServiceClient, f.ctx
	made, err := nodes.Create(ctx, c, nodes.CreateOpts{Driver: "fake-hardware", Name: "host", ResourceClass: "gold", DriverInfo: map[string]any{"bmc_password": "s3cret"}}).Extract()
	f.ok("create", err)
	if made.DriverInfo["bmc_password"] != node.Masked || made.ProvisionState != "enroll" || made.PowerInterface != "fake" {
		t.Errorf("created: %+v", made)
	}
	n, err := nodes.Update(ctx, c, made.UUID, nodes.UpdateOpts{
		nodes.UpdateOperation{Op: nodes.ReplaceOp, Path: "/name", Value: "server"}, nodes.UpdateOperation{Op: nodes.AddOp, Path: "/extra/rack", Value: "a1"},
	}).Extract()
	f.ok("update", err)
	if n.Name != "server" || n.Extra["rack"] != "a1" {
		t.Errorf("updated: %+v", n)
	}
	f.ok("manage", nodes.ChangeProvisionState(ctx, c, "server", nodes.ProvisionStateOpts{Target: nodes.TargetManage}).ExtractErr())
	f.comes(made.UUID, nodes.Manageable)
	f.ok("clean", nodes.ChangeProvisionState(ctx, c, "server", nodes.ProvisionStateOpts{
		Target: nodes.TargetClean, CleanSteps: []nodes.CleanStep{{Interface: nodes.InterfacePower, Step: "power_on"}},
	}).ExtractErr())
	f.comes(made.UUID, nodes.Manageable)
	f.ok("power", nodes.ChangePowerState(ctx, c, "server", nodes.PowerStateOpts{Target: nodes.PowerOff}).ExtractErr())
	f.until("it is off", func() bool {
		n, err := nodes.Get(ctx, c, "server").Extract()
		f.ok("get", err)
		return n.PowerState == "power off" && n.Reservation == ""
	})
	f.ok("boot device", nodes.SetBootDevice(ctx, c, "server", nodes.BootDeviceOpts{BootDevice: "pxe"}).ExtractErr())
	device, err := nodes.GetBootDevice(ctx, c, "server").Extract()
	f.ok("boot device", err)
	devices, err := nodes.GetSupportedBootDevices(ctx, c, "server").Extract()
	f.ok("boot devices", err)
	if device.BootDevice != "pxe" || len(devices) != 1 {
		t.Errorf("boot device %+v of %v", device, devices)
	}
	valid, err := nodes.Validate(ctx, c, "server").Extract()
	f.ok("validate", err)
	if !valid.Power.Result || !valid.Management.Result {
		t.Errorf("valid: %+v", valid)
	}
	f.ok("maintenance", nodes.SetMaintenance(ctx, c, "server", nodes.MaintenanceOpts{Reason: "fan"}).ExtractErr())
	f.ok("no maintenance", nodes.UnsetMaintenance(ctx, c, "server").ExtractErr())
	page, err := nodes.List(c, nodes.ListOpts{ResourceClass: "gold", Fields: []string{"uuid", "name"}}).AllPages(ctx)
	f.ok("list", err)
	list, err := nodes.ExtractNodes(page)
	f.ok("list", err)
	if len(list) != 1 || list[0].UUID != made.UUID {
		t.Errorf("list: %+v", list)
	}
	f.ok("delete", nodes.Delete(ctx, c, "server").ExtractErr())
	if err := nodes.Get(ctx, c, "server").Err; !gophercloud.ResponseCodeIs(err, 404) {
		t.Errorf("after its deletion: %v", err)
	}
}

// TestGophercloudListsInPages turns the pages by markers: that client does not know the link to the next page.
func TestGophercloudListsInPages(t *testing.T) {
	f := newForeign(t)
	for range 7 {
		f.node(obj{})
	}
	seen, marker := map[string]bool{}, ""
	for {
		page, err := nodes.ListDetail(f.ServiceClient, nodes.ListOpts{Limit: 3, Marker: marker, SortKey: "created_at", SortDir: "desc"}).AllPages(f.ctx)
		f.ok("list", err)
		list, err := nodes.ExtractNodes(page)
		f.ok("list", err)
		for _, n := range list {
			if seen[n.UUID] {
				t.Errorf("%s comes twice", n.UUID)
			}
			seen[n.UUID] = true
			marker = n.UUID
		}
		if len(list) < 3 {
			break
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d of 7 nodes", len(seen))
	}
}

func TestGophercloudUsesTheOtherResources(t *testing.T) {
	f := newForeign(t)
	c, ctx := f.ServiceClient, f.ctx
	id := f.available("host", obj{"network_interface": "flat"})
	p, err := ports.Create(ctx, c, ports.CreateOpts{NodeUUID: id, Address: "52:54:00:00:00:01", LocalLinkConnection: map[string]any{"port_id": "e1", "switch_id": "0a:1b:2c:3d:4e:5f"}}).Extract()
	f.ok("port", err)
	p, err = ports.Update(ctx, c, p.UUID, ports.UpdateOpts{ports.UpdateOperation{Op: ports.ReplaceOp, Path: "/address", Value: "52:54:00:00:00:02"}}).Extract()
	f.ok("port update", err)
	if p.Address != "52:54:00:00:00:02" || !p.PXEEnabled {
		t.Errorf("port: %+v", p)
	}
	f.ok("vif", nodes.AttachVirtualInterface(ctx, c, id, nodes.VirtualInterfaceOpts{ID: "1974dcfa-836f-41b2-b541-686c100900e5"}).ExtractErr())
	vifs, err := nodes.ListVirtualInterfaces(ctx, c, id).Extract()
	f.ok("vifs", err)
	if len(vifs) != 1 {
		t.Errorf("vifs: %v", vifs)
	}
	f.ok("detach", nodes.DetachVirtualInterface(ctx, c, id, vifs[0].ID).ExtractErr())
	a, err := allocations.Create(ctx, c, allocations.CreateOpts{Name: "mine", ResourceClass: "gold"}).Extract()
	f.ok("allocation", err)
	a, err = allocations.Get(ctx, c, a.UUID).Extract()
	f.ok("allocation", err)
	if a.State != "active" || a.NodeUUID != id {
		t.Errorf("allocation: %+v", a)
	}
	f.ok("allocation", allocations.Delete(ctx, c, "mine").ExtractErr())
	d, err := drivers.GetDriverDetails(ctx, c, "fake-hardware").Extract()
	f.ok("driver", err)
	if d.Name != "fake-hardware" || d.DefaultPowerInterface != "fake" {
		t.Errorf("driver: %+v", d)
	}
	props, err := drivers.GetDriverProperties(ctx, c, "fake-hardware").Extract()
	f.ok("driver properties", err)
	if len(*props) == 0 {
		t.Error("no driver properties")
	}
	h, err := conductors.Get(ctx, c, host).Extract()
	f.ok("conductor", err)
	if !h.Alive {
		t.Errorf("conductor: %+v", h)
	}
	f.ok("port deletion", ports.Delete(ctx, c, p.UUID).ExtractErr())
}
