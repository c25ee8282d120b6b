package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/riser-project/riser/cli"
)

func TestSettingsThatDoNotGoTogether(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string // "" means accepted
	}{
		"the defaults":                          {nil, ""},
		"everybody on loopback, IPv6":           {[]string{"--listen=[::1]:6385"}, ""},
		"everybody on every address":            {[]string{"--listen=0.0.0.0:6385"}, "--auth none asks nobody who they are"},
		"everybody on every address, on demand": {[]string{"--listen=:6385", "--insecure"}, ""},
		"no port":                               {[]string{"--listen=127.0.0.1"}, "want ADDRESS:PORT"},
		"basic without users":                   {[]string{"--auth=basic"}, "needs --htpasswd-file"},
		"basic on every address":                {[]string{"--auth=basic", "--htpasswd-file=x", "--listen=:6385"}, ""},
		"keystone without its URL":              {[]string{"--auth=keystone"}, "needs --keystone-url"},
		"a role that is none":                   {[]string{"--role=king"}, `--role "king": want one of [all api conductor]`},
		"a word for children that is none":      {[]string{"--deletion-children=adopt"}, "want one of [cascade refuse orphan]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set := newSettings()
			flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
			set.flags(flags)
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			err := set.check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "riser.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:0\nlisten-on: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"the version":                {[]string{"version"}, 0, ""},
		"a command that is none":     {[]string{"fly"}, 2, "fly"},
		"a subcommand that is none":  {[]string{"node", "fly"}, 2, "fly"},
		"a flag that is none":        {[]string{"serve", "--fly"}, 2, "--fly"},
		"an argument too many":       {[]string{"serve", "now"}, 2, "now"},
		"a wrong setting":            {[]string{"serve", "--auth", "guess"}, 2, `--auth "guess"`},
		"an unknown key in the file": {[]string{"serve", "--config", file}, 2, `unknown setting "listen-on"`},
		"a database that is none":    {[]string{"serve", "--database", "mysql://h/n", "--listen", "127.0.0.1:0"}, 1, "want sqlite:PATH"},
		"a split role on SQLite":     {[]string{"serve", "--role", "api", "--database", "sqlite:" + dir + "/riser.db", "--listen", "127.0.0.1:0"}, 1, "needs PostgreSQL"},
		"an unknown hardware type":   {[]string{"serve", "--enabled-hardware-types", "abacus", "--listen", "127.0.0.1:0"}, 1, `no hardware type "abacus"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			cmd := root()
			cmd.SetArgs(tt.args)
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			if code := cli.Execute(t.Context(), cmd); code != tt.code || !strings.Contains(out.String(), tt.want) {
				t.Errorf("riser %v: exit code %d, want %d; printed %q, want %q", tt.args, code, tt.code, out.String(), tt.want)
			}
		})
	}
}

func TestCredentialsOfCards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cards.yaml")
	put := func(text string, mode os.FileMode) {
		t.Helper()
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	put("username: root\npassword: s3cret\n", 0o600)
	c, err := readCredentials(path)
	if err != nil || c.Username != "root" || c.Password != "s3cret" {
		t.Errorf("%v, %v", c, err)
	}
	put("username: root\npassword: s3cret\n", 0o644)
	if _, err := readCredentials(path); err == nil || !strings.Contains(err.Error(), "may be read by others") {
		t.Errorf("a file that others can read: %v", err)
	}
	put("user: root\npassword: s3cret\n", 0o600)
	if _, err := readCredentials(path); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	set := newSettings()
	set.flags(pflag.NewFlagSet("serve", pflag.ContinueOnError))
	set.listen, set.database = "127.0.0.1:0", "sqlite:"+filepath.Join(t.TempDir(), "riser.db")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := newServer(ctx, set, logger(&bytes.Buffer{}, set))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
