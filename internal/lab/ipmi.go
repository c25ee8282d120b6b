//go:build integration

package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BMC is OpenIPMI's simulated BMC, reached over RMCP+ (lanplus). It knows cipher suite 3 only, and does not answer when asked which it
// knows: a client that asks waits ten seconds. It forgets the persistent and EFI flags of boot options.
type BMC struct {
	Host     string
	Port     int // UDP
	User     string
	Password string

	dir string // has what the machine behind the BMC is told: power, boot, log
}

// chassisControl is the machine behind a BMC. ipmi_sim calls it as: DIR MC get|set|check WHAT [VALUE] [WHAT VALUE]...
const chassisControl = `#!/bin/sh
dir=$1 verb=$3
shift 3
case $verb in
get)
  case $1 in
  power) echo "power:$(cat "$dir/power")" ;;
  boot) echo "boot:$(cat "$dir/boot")" ;;
  *) echo "$1:0" ;;
  esac ;;
set)
  while [ $# -ge 2 ]; do
    echo "$1 $2" >>"$dir/log"
    case $1 in
    power | boot) echo "$2" >"$dir/$1" ;;
    shutdown) echo 0 >"$dir/power" ;;
    esac
    shift 2
  done ;;
esac
`

const bmcConfig = `name "bmc"
set_working_mc 0x20
  startlan 1
    addr %[1]s %[2]d
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid %032[2]x
  endlan
  chassis_control "%[3]s %[4]s 0x20"
  user 1 true "" "" user 10 none md2 md5 straight
  user 2 true "%[5]s" "%[6]s" admin 10 none md2 md5 straight
`

const bmcCommands = `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
mc_enable 0x20
`

// StartBMCs starts n BMCs on 127.0.0.1, each with a machine that is off and boots as its firmware likes.
func StartBMCs(t testing.TB, n int) []*BMC {
	t.Helper()
	need(t, "ipmi_sim")
	dir := folder(t)
	control := filepath.Join(dir, "chassis-control")
	write(t, control, chassisControl, 0o755)
	bmcs := make([]*BMC, n)
	for i := range bmcs {
		bmcs[i] = startBMC(t, filepath.Join(dir, strconv.Itoa(i)), control)
	}
	return bmcs
}

func startBMC(t testing.TB, dir, control string) *BMC {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := &BMC{Host: "127.0.0.1", Port: freePort(t, "udp"), User: "admin", Password: "secret", dir: dir}
	write(t, filepath.Join(dir, "lan.conf"), fmt.Sprintf(bmcConfig, b.Host, b.Port, control, dir, b.User, b.Password), 0o644)
	write(t, filepath.Join(dir, "commands"), bmcCommands, 0o644)
	write(t, filepath.Join(dir, "power"), "0\n", 0o644)
	write(t, filepath.Join(dir, "boot"), "default\n", 0o644)
	write(t, filepath.Join(dir, "log"), "", 0o644)
	daemon(t, dir, syscall.SIGTERM, exec.Command("ipmi_sim", "-n", "-c", filepath.Join(dir, "lan.conf"),
		"-f", filepath.Join(dir, "commands"), "-s", filepath.Join(dir, "state"))).await(t, b.ping)
	return b
}

// ping sends an RMCP presence ping (ASF 2.0, 3.2.4.2) and waits for the pong.
func (b *BMC) ping() error {
	conn, err := net.Dial("udp", net.JoinHostPort(b.Host, strconv.Itoa(b.Port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{0x06, 0, 0xff, 0x06, 0, 0, 0x11, 0xbe, 0x80, 0, 0, 0}); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	if n < 9 || answer[8] != 0x40 {
		return errors.New("the answer is no presence pong")
	}
	return nil
}

// On tells whether the machine is on.
func (b *BMC) On(t testing.TB) bool {
	t.Helper()
	return b.read(t, "power") == "1"
}

// Boot returns the boot device that the BMC was told, in ipmi_sim's words: "default", "pxe", "disk", "cdrom", "bios".
func (b *BMC) Boot(t testing.TB) string {
	t.Helper()
	return b.read(t, "boot")
}

// Log returns what the machine was told, in order, each as "what value" ("power 1", "reset 1", "boot pxe").
func (b *BMC) Log(t testing.TB) []string {
	t.Helper()
	return strings.Split(b.read(t, "log"), "\n")
}

func (b *BMC) read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// Ipmitool runs ipmitool on the BMC and returns what it printed.
func (b *BMC) Ipmitool(t testing.TB, args ...string) (string, error) {
	t.Helper()
	need(t, "ipmitool")
	all := append([]string{"-I", "lanplus", "-C", "3", "-H", b.Host, "-p", strconv.Itoa(b.Port), "-U", b.User, "-E"}, args...)
	cmd := exec.CommandContext(t.Context(), "ipmitool", all...)
	cmd.Env = append(os.Environ(), "IPMI_PASSWORD="+b.Password)
	return try(t, cmd)
}
