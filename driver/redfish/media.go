package redfish

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

var _ driver.VirtualMedia = (*Conn)(nil)

// mediaBody is DSP0268 VirtualMedia.
type mediaBody struct {
	ID         string `json:"Id"`
	MediaTypes words
	Inserted   *bool
	Image      string
	Actions    struct {
		Insert struct {
			Target string `json:"target"`
		} `json:"#VirtualMedia.InsertMedia"`
		Eject struct {
			Target string `json:"target"`
		} `json:"#VirtualMedia.EjectMedia"`
	}

	path string
}

func (m *mediaBody) kinds() []string {
	var kinds []string
	for _, pair := range []struct{ redfish, api string }{{"CD", "cdrom"}, {"DVD", "cdrom"}, {"Floppy", "floppy"}, {"USBStick", "disk"}} {
		if slices.Contains(m.MediaTypes, pair.redfish) && !slices.Contains(kinds, pair.api) {
			kinds = append(kinds, pair.api)
		}
	}
	return kinds
}

func (m *mediaBody) inside() string {
	if m.Inserted != nil && !*m.Inserted {
		return ""
	}
	return m.Image
}

// drives reads the virtual media of the system's managers, or of the system itself where newer controllers have them.
func (c *Conn) drives(ctx context.Context) ([]mediaBody, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	from := []string{sys.VirtualMedia.ID}
	for _, m := range sys.Links.ManagedBy {
		var manager struct{ VirtualMedia reference }
		if _, err := c.service.read(ctx, m.ID, &manager); err != nil {
			return nil, err
		}
		from = append(from, manager.VirtualMedia.ID)
	}
	var list []mediaBody
	for i, path := range from {
		if path == "" || slices.Contains(from[:i], path) {
			continue
		}
		members, err := c.service.members(ctx, path)
		if err != nil {
			return nil, err
		}
		for _, p := range members[:min(len(members), 16)] {
			m := mediaBody{path: p}
			if _, err := c.service.read(ctx, p, &m); err != nil {
				return nil, err
			}
			list = append(list, m)
		}
		if len(list) > 0 {
			return list, nil
		}
	}
	return nil, driver.Unsupported("virtual media")
}

// Media lists the virtual drives.
func (c *Conn) Media(ctx context.Context) ([]driver.Media, error) {
	drives, err := c.drives(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]driver.Media, len(drives))
	for i, d := range drives {
		list[i] = driver.Media{ID: d.ID, Kinds: d.kinds(), Image: d.inside()}
	}
	return list, nil
}

// InsertMedia puts image into the first drive of the kind. What is in it already stays when it is the same image, and is ejected first otherwise.
func (c *Conn) InsertMedia(ctx context.Context, kind, image string) error {
	if u, err := url.Parse(image); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fault.New(fault.Invalid, "virtual media image must be an http or https URL without credentials")
	}
	drives, err := c.drives(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(drives, func(d mediaBody) bool { return slices.Contains(d.kinds(), kind) })
	if i < 0 {
		return fault.New(fault.Unsupported, "BMC %s has no virtual drive for %s", c.Address(), kind)
	}
	d := &drives[i]
	switch d.inside() {
	case image:
		return nil
	case "":
	default:
		if err := c.eject(ctx, d); err != nil {
			return err
		}
	}
	body := object{"Image": image, "Inserted": true, "WriteProtected": true}
	cmd := driver.Command{Class: driver.Absolute, Text: "VirtualMedia.InsertMedia " + d.ID}
	if d.Actions.Insert.Target == "" {
		return c.patch(ctx, d.path, cmd, body)
	}
	_, err = c.service.send(ctx, cmd, request{method: http.MethodPost, path: d.Actions.Insert.Target, body: body})
	return err
}

// EjectMedia empties the drives of the kind.
func (c *Conn) EjectMedia(ctx context.Context, kind string) error {
	drives, err := c.drives(ctx)
	if err != nil {
		return err
	}
	for i := range drives {
		d := &drives[i]
		if d.inside() == "" || kind != "" && !slices.Contains(d.kinds(), kind) {
			continue
		}
		if err := c.eject(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) eject(ctx context.Context, d *mediaBody) error {
	cmd := driver.Command{Class: driver.Absolute, Text: "VirtualMedia.EjectMedia " + d.ID}
	if d.Actions.Eject.Target == "" {
		return c.patch(ctx, d.path, cmd, object{"Image": nil, "Inserted": false})
	}
	_, err := c.service.send(ctx, cmd, request{method: http.MethodPost, path: d.Actions.Eject.Target, body: object{}})
	return err
}

// vendorMethods are those of the vendor interface "redfish".
var vendorMethods = []driver.VendorMethod{
	{Name: "eject_vmedia", Description: "Eject virtual media. Argument boot_device (cdrom, floppy, disk) names the kind; without it every drive " +
		"is emptied.",
		Methods: []string{http.MethodPost}, Async: true},
}

// VendorMethods lists the methods of the implementation "redfish".
func (d *Driver) VendorMethods(implementation string) []driver.VendorMethod {
	if implementation != "redfish" {
		return nil
	}
	return slices.Clone(vendorMethods)
}

// CallVendor calls a method of VendorMethods.
func (c *Conn) CallVendor(ctx context.Context, method, httpMethod string, args object) (any, error) {
	switch {
	case method != "eject_vmedia":
		return nil, fault.New(fault.Invalid, "No handler for method %s; the node has eject_vmedia", method)
	case !strings.EqualFold(httpMethod, http.MethodPost):
		return nil, fault.New(fault.Invalid, "vendor method %s does not support HTTP %s; it has POST", method, httpMethod)
	}
	for k := range args {
		if k != "boot_device" {
			return nil, fault.New(fault.Invalid, "vendor method eject_vmedia has no argument %s; it has boot_device", clip(k, 40))
		}
	}
	kind, ok := args["boot_device"].(string)
	if _, has := args["boot_device"]; has && (!ok || !slices.Contains([]string{"cdrom", "floppy", "disk"}, kind)) {
		return nil, fault.New(fault.Invalid, "boot_device must be one of cdrom, floppy, disk")
	}
	return nil, c.EjectMedia(ctx, kind)
}
