//go:build integration

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Libvirt is a libvirtd of its own.
type Libvirt struct {
	Socket string // path of the Unix socket that speaks libvirt's RPC

	dir   string
	tests int
}

// libvirtInNamespace prepares a private mount namespace and becomes libvirtd there: its settings, state and, if asked for, sysfs are
// folders of the test, whatever the machine has. Some of the real sysfs is kept for what libvirtd reads of its own host.
const libvirtInNamespace = `set -eu
dir=$1 sysfs=$2
if [ -n "$sysfs" ]; then
  mkdir "$dir/sys"
  mount --rbind /sys "$dir/sys"
  mount -t tmpfs sysfs /sys
  cp -a "$sysfs/." /sys/
  for part in devices/system devices/virtual kernel module firmware class/block class/mem class/misc; do
    [ -d "$dir/sys/$part" ] || continue
    mkdir -p "/sys/$part"
    mount --rbind "$dir/sys/$part" "/sys/$part"
  done
fi
for table in passwd group; do
  cat "/etc/$table" "$dir/$table" >"$dir/all-$table"
  mount --bind "$dir/all-$table" "/etc/$table"
done
if [ -e /dev/kvm ]; then # a virtual machine's own may hang; domains are emulated
  mount --bind /dev/null /dev/kvm
fi
mount --bind "$dir/etc" /etc/libvirt
mount --bind "$dir/run" /run
mount --bind "$dir/lib" /var/lib
mount --bind "$dir/cache" /var/cache
exec libvirtd -f "$dir/libvirtd.conf" -p "$dir/libvirtd.pid"
`

// StartLibvirt starts a libvirtd. Its node devices (nodedev:///system) are those of the sysfs-shaped tree at sysfs, or the machine's own if
// sysfs is empty. It takes root, for the mount namespace.
func StartLibvirt(t testing.TB, sysfs string) *Libvirt {
	t.Helper()
	needRoot(t, "libvirtd with files of its own")
	need(t, "libvirtd", "virsh", "mount")
	dir := folder(t)
	for _, name := range []string{"etc", "run", "lib", "cache"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "libvirtd.conf"), fmt.Sprintf("unix_sock_dir = %q\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n", dir), 0o644)
	// QEMU's driver wants the account that comes with Debian's system service, unless it is told to start QEMU as root; and there is no virtlogd.
	write(t, filepath.Join(dir, "etc", "qemu.conf"), `security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
user = "root"
group = "root"
`, 0o644)
	write(t, filepath.Join(dir, "passwd"), "libvirt-qemu:x:64055:64055::/:/bin/false\n", 0o644)
	write(t, filepath.Join(dir, "group"), "libvirt-qemu:x:64055:\n", 0o644)

	l := &Libvirt{Socket: filepath.Join(dir, "libvirt-sock"), dir: dir}
	cmd := exec.Command("sh", "-c", libvirtInNamespace, "sh", dir, sysfs)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	// A tree that is not a mounted sysfs is refused by libudev unless told so.
	cmd.Env = append(os.Environ(), "SYSTEMD_DEVICE_VERIFY_SYSFS=0")
	daemon(t, dir, syscall.SIGTERM, cmd).await(t, func() error {
		// The socket is there before the drivers are, so that a connection made too early is broken off.
		_, err := l.virsh(t, "nodedev", "/system", "uri")
		return err
	})
	return l
}

// TestDriver returns the URI of a libvirt test driver (test:///...) whose host is described by xml, a <node> element. The system device
// among its devices must have a uuid. Each connection has a host of its own, made anew.
func (l *Libvirt) TestDriver(t testing.TB, xml string) string {
	t.Helper()
	l.tests++
	name := filepath.Join(l.dir, fmt.Sprintf("node%d.xml", l.tests))
	write(t, name, xml, 0o644)
	return "test://" + name
}

// Virsh runs virsh over the daemon's socket, on a driver ("qemu", "nodedev") with a path ("/system"), and returns what it printed.
func (l *Libvirt) Virsh(t testing.TB, driver, path string, args ...string) string {
	t.Helper()
	out, err := l.virsh(t, driver, path, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (l *Libvirt) virsh(t testing.TB, driver, path string, args ...string) (string, error) {
	t.Helper()
	uri := fmt.Sprintf("%s+unix://%s?socket=%s", driver, path, l.Socket)
	return try(t, exec.CommandContext(t.Context(), "virsh", append([]string{"-q", "-c", uri}, args...)...))
}
