//go:build integration

package lab

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// OpenStack runs OpenStack's command-line clients.
type OpenStack struct {
	prefix []string // what comes before the program's name
}

// OpenStackOfRelease returns the clients of this Debian release. They know no children of nodes.
func OpenStackOfRelease(t testing.TB) OpenStack {
	t.Helper()
	need(t, "/usr/bin/baremetal", "/usr/bin/openstack")
	// Debian's modules belong to Debian's interpreter, whatever python3 is first in the PATH.
	return OpenStack{prefix: []string{"env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}
}

// NewestOpenStack returns the newest clients that Debian has, in the chroot of test/integration/openstack-chroot.sh, which is made first if
// it is not there. It takes root.
func NewestOpenStack(t testing.TB) OpenStack {
	t.Helper()
	needRoot(t, "a chroot")
	need(t, "chroot", "debootstrap")
	root := output(t, filepath.Join(repository(t), "test/integration/openstack-chroot.sh"))
	return OpenStack{prefix: []string{"chroot", root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}}
}

// Baremetal runs the baremetal command on the API at endpoint, without credentials, and returns what it printed. The error has the
// client's error text.
func (o OpenStack) Baremetal(t testing.TB, endpoint string, args ...string) (string, error) {
	t.Helper()
	return o.Run(t, append([]string{"baremetal", "--os-auth-type", "none", "--os-endpoint", endpoint}, args...)...)
}

// Run runs a program of the clients (baremetal, openstack, python3) and returns what it printed, without blanks at the end.
func (o OpenStack) Run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	all := slices.Concat(o.prefix, args)
	out, err := try(t, exec.CommandContext(t.Context(), all[0], all[1:]...))
	return strings.TrimRight(out, " \n"), err
}
