package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/store/storetest"
)

func open(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.DB { return open(t, filepath.Join(t.TempDir(), "riser.db")) })
}

func TestOpenRefuses(t *testing.T) {
	for dsn, want := range map[string]string{
		"mysql://root:pw@h/n":      "want sqlite:PATH or postgres://",
		"riser.db":                 "want sqlite:PATH or postgres://",
		"sqlite:":                  "needs a path",
		"postgres://u:s3cret@h/db": "secrets-key-file must be set",
	} {
		_, err := store.Open(t.Context(), dsn, store.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): %v, want %q", dsn, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "root:pw")) {
			t.Errorf("Open(%q) tells the password: %v", dsn, err)
		}
	}
}

func TestOneProcessPerSQLiteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "riser.db")
	open(t, path)
	if _, err := store.Open(t.Context(), "sqlite:"+path, store.Options{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second process opened the file: %v", err)
	}
}

func TestAnyPathNamesADatabase(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "a#b.db", "a?mode=memory.db", "50%25.db"} {
		path := filepath.Join(dir, name)
		db := open(t, path)
		if err := db.Write(t.Context(), func(tx *store.Tx) error {
			return tx.InsertNode(t.Context(), &node.Node{UUID: uuid.NewString(), Name: "n", Driver: "d", Provision: node.Enroll})
		}); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestSecretsKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "riser.db")
	reopen := func() error {
		db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			return err
		}
		return db.Close()
	}
	if err := reopen(); err != nil {
		t.Fatal(err)
	}
	key := path + ".key"
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", info, err)
	}
	if err := reopen(); err != nil {
		t.Errorf("the second start: %v", err)
	}
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		if err := reopen(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open: %v, want %q", err, want)
		}
	}
	put := func(text string, mode os.FileMode) {
		t.Helper()
		_ = os.Remove(key)
		if err := os.WriteFile(key, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	refused("is gone: restore it")
	if _, err := os.Stat(key); err == nil {
		t.Error("a new key was made in place of the lost one")
	}
	put("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0o600)
	refused("is not the one that sealed")
	put("short", 0o600)
	refused("is damaged")
	put(string(text), 0o644)
	refused("may be read by others")
	put(string(text), 0o600)
	if err := reopen(); err != nil {
		t.Errorf("with the key back: %v", err)
	}
}

func TestSecretsAreNotInTheFiles(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "riser.db"))
	n := &node.Node{UUID: uuid.NewString(), Driver: "redfish", Provision: node.Enroll, DriverInfo: node.Object{"redfish_password": "canary-7f3a"}}
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.InsertNode(t.Context(), n) }); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "canary-7f3a") {
			t.Errorf("%s holds the secret", f.Name())
		}
	}
}

func TestALostTailIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "riser.db")
	insert := func(name string) {
		t.Helper()
		db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Write(t.Context(), func(tx *store.Tx) error {
			return tx.InsertNode(t.Context(), &node.Node{UUID: uuid.NewString(), Name: name, Driver: "d", Provision: node.Enroll})
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	insert("a")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	insert("b")
	insert("c")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err == nil || !strings.Contains(err.Error(), ": 4 changes are lost") || !strings.Contains(err.Error(), "delete "+path+".commits") {
		t.Errorf("open of an older copy: %v", err)
	}
	if err := os.WriteFile(path+".commits", []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	insert("d")
	if err := os.Remove(path + ".commits"); err != nil {
		t.Fatal(err)
	}
	insert("e")
}

func TestMask(t *testing.T) {
	tests := map[string]struct {
		in, want node.Object
		secret   bool
	}{
		"nothing":              {nil, nil, false},
		"no secret":            {node.Object{"a": 1.0, "password": ""}, node.Object{"a": 1.0, "password": ""}, false},
		"a secret":             {node.Object{"redfish_password": "x"}, node.Object{"redfish_password": node.Masked}, true},
		"a secret in a list":   {node.Object{"l": []any{node.Object{"token": "x"}}}, node.Object{"l": []any{node.Object{"token": node.Masked}}}, true},
		"a setting":            {node.Object{"name": "SetupPassword", "value": "x"}, node.Object{"name": "SetupPassword", "value": node.Masked}, true},
		"another setting":      {node.Object{"name": "Boot", "value": "x"}, node.Object{"name": "Boot", "value": "x"}, false},
		"a password in a URL":  {node.Object{"url": "https://u:p%40w@h/f?a=b"}, node.Object{"url": "https://u:" + node.Masked + "@h/f?a=b"}, true},
		"a URL with a user":    {node.Object{"url": "https://u@h/f"}, node.Object{"url": "https://u@h/f"}, false},
		"an object as secret":  {node.Object{"credentials": node.Object{"a": "b"}}, node.Object{"credentials": node.Masked}, true},
		"text that is no URL":  {node.Object{"raw": "0x32 %zz"}, node.Object{"raw": "0x32 %zz"}, false},
		"values of other kind": {node.Object{"a": nil, "b": true, "c": []any{}}, node.Object{"a": nil, "b": true, "c": []any{}}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, secret := store.Mask(tt.in)
			if d := cmp.Diff(tt.want, got); d != "" || secret != tt.secret {
				t.Errorf("secret %v (-want +got):\n%s", secret, d)
			}
		})
	}
}

func BenchmarkListNodes(b *testing.B) {
	db := open(b, filepath.Join(b.TempDir(), "riser.db"))
	err := db.Write(b.Context(), func(tx *store.Tx) error {
		for range 1000 {
			n := &node.Node{UUID: uuid.NewString(), Driver: "fake-hardware", Provision: node.Enroll, Properties: node.Object{"cpu_arch": "x86_64"}}
			if err := tx.InsertNode(b.Context(), n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, columns := range map[string][]string{
		"default": {"uuid", "name", "instance_uuid", "power_state", "provision_state", "maintenance"},
		"detail":  nil,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				err := db.Read(b.Context(), func(tx *store.Tx) error {
					list, err := tx.Nodes(b.Context(), store.NodeQuery{Columns: columns})
					if len(list) != 1000 {
						b.Fatalf("%d nodes", len(list))
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
