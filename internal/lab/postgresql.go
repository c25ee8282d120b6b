//go:build integration

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
)

// PostgreSQL is a server of its own, on 127.0.0.1 and on a Unix socket. It trusts every client and is not durable.
type PostgreSQL struct {
	Port      int
	SocketDir string // for "host=" of a DSN

	bin       string
	databases atomic.Int32
}

// StartPostgreSQL starts a server. Root becomes the user postgres for it, since PostgreSQL refuses to run as root.
func StartPostgreSQL(t testing.TB) *PostgreSQL {
	t.Helper()
	bin := postgresqlBin(t)
	dir := folder(t)
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		attr.Credential = credential(t, "postgres")
		if err := os.Chown(dir, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}

	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(t.Context(), filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync",
		"-E", "UTF8", "--locale=C.UTF-8")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if _, err := try(t, initdb); err != nil {
		t.Fatal(err)
	}

	pg := &PostgreSQL{Port: freePort(t, "tcp"), SocketDir: dir, bin: bin}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-p", strconv.Itoa(pg.Port),
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
		"-c", "max_connections=200")
	server.Dir, server.SysProcAttr = dir, &syscall.SysProcAttr{Credential: attr.Credential}
	// SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave.
	daemon(t, dir, syscall.SIGINT, server).await(t, func() error {
		return exec.CommandContext(t.Context(), filepath.Join(bin, "pg_isready"), "-q", "-h", dir, "-p", strconv.Itoa(pg.Port)).Run()
	})
	return pg
}

// Database creates an empty database and returns its DSN, in the form postgres://.
func (pg *PostgreSQL) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("lab%d", pg.databases.Add(1))
	output(t, filepath.Join(pg.bin, "createdb"), "-h", pg.SocketDir, "-p", strconv.Itoa(pg.Port), "-U", "postgres", name)
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", pg.Port, name)
}

// postgresqlBin returns Debian's folder of server programs, which are not in the PATH.
func postgresqlBin(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		unavailable(t, "PostgreSQL is not installed")
	}
	return found[len(found)-1]
}

func credential(t testing.TB, name string) *syscall.Credential {
	t.Helper()
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
