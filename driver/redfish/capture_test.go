package redfish_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/node"
)

// capture is the answers of a real machine by path.
type capture map[string][]byte

func readCapture(t testing.TB, name string) capture {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "captures", name+".tar.gz"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("the captures of real machines are not there: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	c := capture{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c
		}
		if err != nil {
			t.Fatal(err)
		}
		i := strings.Index(h.Name, "/redfish/")
		if i < 0 || !strings.HasSuffix(h.Name, "/index.json") || h.Size > 8<<20 {
			continue
		}
		if c[strings.TrimSuffix(h.Name[i:], "/index.json")], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// serve plays the capture. Each answer goes through change; changes of the machine are accepted.
func (c capture) serve(t testing.TB, change func([]byte) []byte) (*redfish.Conn, error) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := c[strings.TrimSuffix(r.URL.Path, "/")]
		switch {
		case r.Method != http.MethodGet:
			w.WriteHeader(http.StatusNoContent)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = w.Write(change(b))
		}
	}))
	t.Cleanup(s.Close)
	d := redfish.New(redfish.Options{Poll: time.Microsecond, ReadTimeout: 2 * time.Second, SendTimeout: 2 * time.Second})
	return d.Connect(t.Context(), &node.Node{DriverInfo: node.Object{"redfish_address": s.URL}})
}

func same(b []byte) []byte { return b }

func TestCapturesAreReadWithoutAnError(t *testing.T) {
	tests := map[string]struct {
		identity driver.Identity
		boot     driver.BootState
		devices  []string
		some     map[string]string // versions of some components
		counts   [3]int            // at least: components, sensors, BIOS settings
	}{
		"redfish-nvidia_dpu": {
			identity: driver.Identity{
				Manufacturer: "https://www.mellanox.com", Model: "BlueField-3 SmartNIC Main Card", Serial: "MT2423600ANG", PartNumber: "900-9D3B6-00CV-AA0",
				BaseMAC: "5c:25:73:08:f3:52",
			},
			boot:    driver.BootState{Booted: true, Alive: true, Reports: true, State: "OsIsRunning"},
			devices: []string{"pxe", "uefihttp", "uefishell"},
			some:    map[string]string{"BMC_Firmware": "BF-24.10-10"},
			counts:  [3]int{14, 10, 20},
		},
		"redfish-dell_multi_dpu": {
			identity: driver.Identity{
				SystemUUID: "4c4c4544-004c-4c10-8056-c3c04f305233", Manufacturer: "Dell Inc.", Model: "PowerEdge R750", Serial: "MXFC40025U031S", PartNumber: "01J4WFA05",
				CardSerials: []string{"MT2328XZ1GA3", "MT2328XZ17WR"},
			},
			boot:    driver.BootState{Booted: true, Alive: true, State: "OSRunning"},
			devices: []string{"pxe", "disk", "cdrom", "bios", "uefihttp", "floppy", "sdcard"},
			counts:  [3]int{15, 15, 100},
		},
		"redfish-supermicro": {
			identity: driver.Identity{
				SystemUUID: "00000000-0000-0000-0000-7cc25550a8ff", Manufacturer: "Supermicro", Model: "SYS-821GE-TNHR", Serial: "S889914X3710910", PartNumber: "SYS-821GE-TNHR-02-CI061",
			},
			boot:    driver.BootState{Alive: true, State: "SystemHardwareInitializationComplete"},
			devices: []string{"pxe", "disk", "cdrom", "bios", "uefihttp", "usb", "floppy"},
			counts:  [3]int{10, 15, 50},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := readCapture(t, name).serve(t, same)
			if err != nil {
				t.Fatal(err)
			}
			id, err := c.Identity(t.Context())
			if name == "redfish-supermicro" {
				if len(id.CardSerials) < 8 {
					t.Errorf("cards %q", id.CardSerials)
				}
				id.CardSerials = nil
			}
			if d := cmp.Diff(tt.identity, id); d != "" || err != nil {
				t.Errorf("identity (-want +got):\n%s%v", d, err)
			}
			boot, err := c.BootState(t.Context())
			if d := cmp.Diff(tt.boot, boot); d != "" || err != nil {
				t.Errorf("boot state (-want +got):\n%s%v", d, err)
			}
			devices, err := c.BootDevices(t.Context())
			if d := cmp.Diff(tt.devices, devices); d != "" || err != nil {
				t.Errorf("boot devices (-want +got):\n%s%v", d, err)
			}
			if state, err := c.PowerState(t.Context()); state != node.PowerOn || err != nil {
				t.Errorf("power %q, %v", state, err)
			}
			if commands, err := c.PowerCommands(t.Context()); len(commands) < 5 || err != nil {
				t.Errorf("commands %v, %v", commands, err)
			}
			components, err := c.Components(t.Context())
			sensors, err2 := c.Sensors(t.Context())
			settings, err3 := c.Settings(t.Context())
			if err := errors.Join(err, err2, err3); err != nil {
				t.Error(err)
			}
			for i, n := range []int{len(components), len(sensors), len(settings)} {
				if n < tt.counts[i] {
					t.Errorf("%d of %s, want %d or more", n, []string{"components", "sensors", "settings"}[i], tt.counts[i])
				}
			}
			for _, part := range components {
				if want, ok := tt.some[part.ID]; ok && part.Version != want {
					t.Errorf("%s is %q, want %q", part.ID, part.Version, want)
				}
			}
			inv, err := c.Inventory(t.Context())
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d components, %d sensors, %d settings; %+v", len(components), len(sensors), len(settings), inv)
		})
	}
}

// Whatever bytes of a capture are damaged, reading ends, without a panic.
func TestDamagedCapturesDoNotBreakTheDriver(t *testing.T) {
	c := readCapture(t, "redfish-nvidia_dpu")
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 1))
		damage := func(b []byte) []byte {
			b = bytes.Clone(b)
			for range 1 + random.IntN(4) {
				i := random.IntN(len(b))
				switch random.IntN(3) {
				case 0:
					b[i] = byte(random.Uint32())
				case 1:
					b = append(b[:i], b[min(len(b), i+random.IntN(40)):]...)
				case 2:
					b = append(b[:i], append([]byte(`null,"":[{}],`), b[i:]...)...)
				}
				if len(b) == 0 {
					return []byte("{}")
				}
			}
			return b
		}
		var mu sync.Mutex
		conn, err := c.serve(t, func(b []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(3) == 0 {
				return damage(b)
			}
			return b
		})
		if err != nil {
			continue
		}
		_, _ = conn.Identity(t.Context())
		_, _ = conn.BootState(t.Context())
		_, _ = conn.PowerCommands(t.Context())
		_, _ = conn.Sensors(t.Context())
		_, _ = conn.Inventory(t.Context())
		_ = conn.Close()
	}
}
