package redfish_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/node"
)

// Whatever a controller answers, reading ends, without a panic and without leaving the controller.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"PowerState":"On","BootProgress":{"LastState":"OEM","OemLastState":"OsIsRunning"},"Boot":{"BootSourceOverrideTarget@Redfish.AllowableValues":[["Pxe"]]}}`,
		`{"Members":[{"@odata.id":"/redfish/v1/Systems/1"},null,7],"Members@odata.nextLink":"/redfish/v1/Systems"}`,
		`{"Links":{"Chassis":[{"@odata.id":"http://other/"}],"ManagedBy":{}},"Bios":{"@odata.id":"/redfish/../etc"}}`,
		`{"Attributes":{"a":1,"b":{"c":[]}},"Actions":{"#ComputerSystem.Reset":{"target":"//x","@Redfish.ActionInfo":"/redfish/v1/Systems/1"}}}`,
		`{"Temperatures":[{"ReadingCelsius":1e999}],"Thermal":{"@odata.id":"/redfish/v1/Systems/1"}}`, `[]`, `{`, `null`, "\xff\xfe",
	} {
		f.Add([]byte(body))
	}
	body := make(chan []byte, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			f.Errorf("%s %s was sent", r.Method, r.URL)
		}
		b := <-body
		body <- b
		_, _ = w.Write(b)
	}))
	f.Cleanup(s.Close)
	d := redfish.New(redfish.Options{ReadTimeout: 5 * time.Second})
	n := &node.Node{DriverInfo: node.Object{"redfish_address": s.URL, "redfish_system_id": "/redfish/v1/Systems/1"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		body <- b
		defer func() { <-body }()
		c, err := d.Connect(t.Context(), n)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		ctx := t.Context()
		_, _ = c.PowerState(ctx)
		_, _ = c.PowerCommands(ctx)
		_, _ = c.BootState(ctx)
		_, _, _ = c.BootDevice(ctx)
		_, _ = c.Identity(ctx)
		_, _ = c.Settings(ctx)
		_, _ = c.Sensors(ctx)
		_, _ = c.Inventory(ctx)
		_, _ = c.Components(ctx)
		_, _ = c.Media(ctx)
		_, _ = c.Indicators(ctx)
		_, _ = c.ControllerTime(ctx)
		_, _ = c.UpdateState(ctx, "/redfish/v1/TaskService/Tasks/0")
	})
}

func FuzzValidate(f *testing.F) {
	f.Add("https://bmc", "/redfish/v1/Systems/1", "true")
	f.Add("http://[::1%eth0]:0/", "../../x", "/etc/ssl")
	f.Add("0 ", "", "no")
	d := redfish.New(redfish.Options{})
	f.Fuzz(func(t *testing.T, address, system, ca string) {
		info := node.Object{"redfish_address": address, "redfish_system_id": system, "redfish_verify_ca": ca}
		if d.Validate(info) == nil && d.Address(info) == "" {
			t.Errorf("address %q is valid and is none", address)
		}
	})
}
