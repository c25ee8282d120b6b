package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

var (
	_ driver.Firmware = (*Conn)(nil)
	_ driver.Pusher   = (*Conn)(nil)
)

// updateService is DSP0268 UpdateService.
type updateService struct {
	MaxImageSizeBytes    int64
	HTTPPushURI          string `json:"HttpPushUri"`
	MultipartHTTPPushURI string `json:"MultipartHttpPushUri"`
	FirmwareInventory    reference
	Actions              struct {
		Simple struct {
			Target    string `json:"target"`
			Protocols words  `json:"TransferProtocol@Redfish.AllowableValues"`
		} `json:"#UpdateService.SimpleUpdate"`
	}
}

func (c *Conn) updates(ctx context.Context) (u updateService, err error) {
	_, err = c.service.read(ctx, c.service.root.Update.or("/redfish/v1/UpdateService"), &u)
	if fault.Is(err, fault.NotFound) {
		err = driver.Unsupported("firmware updates")
	}
	return u, err
}

// maxComponents bounds the readings of one listing: some machines take minutes for theirs.
const maxComponents = 128

// Components lists the firmware inventory. A version without a digit ("ion:", "no valid image") counts as none.
func (c *Conn) Components(ctx context.Context) ([]driver.Component, error) {
	u, err := c.updates(ctx)
	if err != nil {
		return nil, err
	}
	paths, err := c.service.members(ctx, u.FirmwareInventory.or("/redfish/v1/UpdateService/FirmwareInventory"))
	if err != nil {
		return nil, err
	}
	var list []driver.Component
	for _, p := range paths[:min(len(paths), maxComponents)] {
		var item struct {
			Name, Version string
			Updateable    bool
		}
		if _, err := c.service.read(ctx, p, &item); err != nil {
			if stop(err) {
				return nil, err
			}
			continue
		}
		version := real(item.Version)
		if !strings.ContainsAny(version, "0123456789") {
			version = ""
		}
		list = append(list, driver.Component{ID: base(p), Name: real(item.Name), Version: version, Updatable: item.Updateable})
	}
	return list, nil
}

// UpdateFirmware sends UpdateService.SimpleUpdate. A component that is an id of the inventory becomes the target; other words, such as bmc and
// bios, leave it to the machine to know what the image is for.
func (c *Conn) UpdateFirmware(ctx context.Context, component, image string) (driver.Update, error) {
	u, err := url.Parse(image)
	if err != nil || u.Host == "" || u.User != nil {
		return driver.Update{}, fault.New(fault.Invalid, "firmware image must be a URL without credentials, e.g. https://images.example/bmc.bin")
	}
	body := object{"ImageURI": image, "TransferProtocol": strings.ToUpper(u.Scheme)}
	if path, err := c.component(ctx, component); err != nil {
		return driver.Update{}, err
	} else if path != "" {
		body["Targets"] = []string{path}
	}
	return c.SimpleUpdate(ctx, strings.ToUpper(u.Scheme), body)
}

// component returns the inventory's path of a component, or "" when it has none of that id.
func (c *Conn) component(ctx context.Context, id string) (string, error) {
	if id == "" {
		return "", nil
	}
	u, err := c.updates(ctx)
	if err != nil {
		return "", err
	}
	paths, err := c.service.members(ctx, u.FirmwareInventory.or("/redfish/v1/UpdateService/FirmwareInventory"))
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		if base(p) == id {
			return p, nil
		}
	}
	return "", nil
}

// SimpleUpdate sends UpdateService.SimpleUpdate with the given body, if the machine allows the transfer protocol.
func (c *Conn) SimpleUpdate(ctx context.Context, protocol string, body map[string]any) (driver.Update, error) {
	u, err := c.updates(ctx)
	if err != nil {
		return driver.Update{}, err
	}
	simple := u.Actions.Simple
	switch {
	case simple.Target == "":
		return driver.Update{}, fault.New(fault.Unsupported, "BMC %s has no SimpleUpdate", c.Address())
	case len(simple.Protocols) > 0 && !slices.Contains(simple.Protocols, protocol):
		return driver.Update{}, fault.New(fault.Unsupported, "BMC %s cannot fetch images by %s; it has %s", c.Address(), protocol,
			strings.Join(simple.Protocols, ", "))
	}
	a, err := c.service.send(ctx, driver.Command{Class: driver.Relative, Text: fmt.Sprintf("UpdateService.SimpleUpdate %v", body["ImageURI"])},
		request{method: http.MethodPost, path: simple.Target, body: body})
	if err != nil {
		return driver.Update{}, err
	}
	return c.started(a)
}

// PushFirmware uploads an image as multipart/form-data (DSP0266, section Multipart HTTP push updates), or as it is where that is all there is.
func (c *Conn) PushFirmware(ctx context.Context, component, name string, image io.Reader, size int64) (driver.Update, error) {
	u, err := c.updates(ctx)
	switch {
	case err != nil:
		return driver.Update{}, err
	case u.MaxImageSizeBytes > 0 && size > u.MaxImageSizeBytes:
		return driver.Update{}, fault.New(fault.TooLarge, "BMC %s takes images of up to %d bytes, this one has %d; let it fetch the image instead",
			c.Address(), u.MaxImageSizeBytes, size)
	case u.MultipartHTTPPushURI == "" && u.HTTPPushURI == "":
		return driver.Update{}, fault.New(fault.Unsupported, "BMC %s takes no firmware uploads", c.Address())
	}
	r := request{method: http.MethodPost, path: u.HTTPPushURI, stream: image, size: size, kind: "application/octet-stream"}
	if u.MultipartHTTPPushURI != "" {
		parameters := object{"Targets": []string{}}
		if path, err := c.component(ctx, component); err != nil {
			return driver.Update{}, err
		} else if path != "" {
			parameters["Targets"] = []string{path}
		}
		r.path = u.MultipartHTTPPushURI
		if r.stream, r.size, r.kind, err = form(parameters, name, image, size); err != nil {
			return driver.Update{}, err
		}
	}
	a, err := c.service.send(ctx, driver.Command{Class: driver.Relative, Text: fmt.Sprintf("firmware upload %s, %d bytes", name, size)}, r)
	if err != nil {
		return driver.Update{}, err
	}
	return c.started(a)
}

// form wraps an image, without reading it, into the two parts UpdateParameters and UpdateFile.
func form(parameters object, name string, image io.Reader, size int64) (body io.Reader, length int64, kind string, err error) {
	var head bytes.Buffer
	w := multipart.NewWriter(&head)
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="UpdateParameters"`}, "Content-Type": {"application/json"}})
	if err != nil {
		return nil, 0, "", err
	}
	if err := json.NewEncoder(part).Encode(parameters); err != nil {
		return nil, 0, "", err
	}
	if _, err := w.CreateFormFile("UpdateFile", name); err != nil {
		return nil, 0, "", err
	}
	n := head.Len()
	if err := w.Close(); err != nil {
		return nil, 0, "", err
	}
	whole := head.Bytes()
	return io.MultiReader(bytes.NewReader(whole[:n]), image, bytes.NewReader(whole[n:])), int64(len(whole)) + size, w.FormDataContentType(), nil
}

// taskBody is DSP0268 Task.
type taskBody struct {
	ID              string `json:"@odata.id"`
	Type            string `json:"@odata.type"`
	TaskState       string
	TaskStatus      string
	PercentComplete *int
	Messages        []struct{ Message string }
}

// started finds the task in the answer to an update.
func (c *Conn) started(a *answer) (driver.Update, error) {
	var t taskBody
	if len(a.body) > 0 && a.body[0] == '{' {
		_ = json.Unmarshal(a.body, &t) // a controller may send anything here; the header serves too
	}
	path := ""
	if strings.HasPrefix(t.Type, "#Task.") {
		path = t.ID
	}
	if path == "" {
		path = strings.TrimSuffix(strings.TrimPrefix(a.header.Get("Location"), c.Address()), "/Monitor")
	}
	if path != "" && localPath(path) != nil {
		return driver.Update{}, fault.New(fault.Unavailable, "BMC %s started the update but names a task outside its service", c.Address())
	}
	return driver.Update{Task: path, Percent: -1, Done: path == "" && a.status != http.StatusAccepted, State: t.TaskState}, nil
}

// UpdateState reads a task.
func (c *Conn) UpdateState(ctx context.Context, task string) (driver.Update, error) {
	var t taskBody
	if _, err := c.service.read(ctx, task, &t); err != nil {
		return driver.Update{}, err
	}
	u := driver.Update{Task: task, Percent: -1, State: t.TaskState}
	if t.PercentComplete != nil && *t.PercentComplete >= 0 && *t.PercentComplete <= 100 {
		u.Percent = *t.PercentComplete
	}
	for _, m := range t.Messages {
		if text := c.service.clean(m.Message); text != "" {
			u.Message = text
		}
	}
	switch t.TaskState {
	case "Completed":
		u.Done, u.Percent = true, 100
		if t.TaskStatus == "Critical" {
			return u, fault.New(fault.Conflict, "BMC %s: the update failed: %s", c.Address(), u.Message)
		}
	case "Exception", "Killed", "Cancelled", "Interrupted", "Suspended":
		return u, fault.New(fault.Conflict, "BMC %s: the update failed (%s): %s", c.Address(), t.TaskState, u.Message)
	}
	return u, nil
}
