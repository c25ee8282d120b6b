package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/riser-project/riser/config"
)

type settings struct {
	Listen string
	Width  int
	TTL    time.Duration
	Off    []string
	Force  bool
}

func flags(s *settings) *pflag.FlagSet {
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	set.StringVar(&s.Listen, "listen", "127.0.0.1:6385", "")
	set.IntVar(&s.Width, "child-width", 64, "")
	set.DurationVar(&s.TTL, "lease-ttl", 15*time.Second, "")
	set.StringSliceVar(&s.Off, "disallow-clean-steps", []string{"vendor.send_raw"}, "")
	set.BoolVar(&s.Force, "insecure", false, "")
	set.String("config", "", "")
	return set
}

func TestLoad(t *testing.T) {
	def := settings{"127.0.0.1:6385", 64, 15 * time.Second, []string{"vendor.send_raw"}, false}
	with := func(change func(*settings)) settings { s := def; change(&s); return s }
	tests := map[string]struct {
		args []string
		file string
		env  []string
		want settings
		err  string
	}{
		"nothing given": {want: def},
		"an empty file": {file: "# nothing\n", want: def},
		"the file sets": {file: "listen: 127.0.0.1:1\nchild-width: 8\nlease-ttl: 1m\ninsecure: true\n", want: settings{"127.0.0.1:1", 8, time.Minute, def.Off, true}},
		"a list in the file replaces the default":  {file: "disallow-clean-steps: [a.b, c.d]\n", want: with(func(s *settings) { s.Off = []string{"a.b", "c.d"} })},
		"an empty list in the file empties it":     {file: "disallow-clean-steps: []\n", want: with(func(s *settings) { s.Off = []string{} })},
		"the environment wins over the file":       {file: "child-width: 8\n", env: []string{"RISER_CHILD_WIDTH=9", "CHILD_WIDTH=10"}, want: with(func(s *settings) { s.Width = 9 })},
		"the command line wins over both":          {args: []string{"--child-width=7"}, file: "child-width: 8\n", env: []string{"RISER_CHILD_WIDTH=9"}, want: with(func(s *settings) { s.Width = 7 })},
		"an unknown key is refused with its line":  {file: "listen: x\nlisten-on: y\n", err: `line 2: unknown setting "listen-on"; the settings are child-width`},
		"the file's own name is no key":            {file: "config: x\n", err: `unknown setting "config"`},
		"a value of another type":                  {file: "child-width: many\n", err: `setting child-width: "many" is not a int`},
		"a mapping where a value is wanted":        {file: "listen: {a: b}\n", err: "setting listen: want a single value (string)"},
		"not YAML":                                 {file: "listen: [\n", err: `want lines of the form "setting: value"`},
		"a list of settings":                       {file: "- listen\n", err: `want lines of the form "setting: value"`},
		"two documents":                            {file: "listen: x\n---\nlisten: y\n", err: "a second YAML document"},
		"a variable of another type":               {env: []string{"RISER_LEASE_TTL=soon"}, err: "RISER_LEASE_TTL: "},
		"every wrong line is told":                 {file: "a: 1\nb: 2\n", err: `line 2: unknown setting "b"`},
		"a file that is not there":                 {file: "-", err: "no such file"},
		"a variable of the file's name is ignored": {env: []string{"RISER_CONFIG=x"}, want: def},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var s settings
			set := flags(&s)
			if err := set.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			path := ""
			if tt.file != "" {
				path = filepath.Join(t.TempDir(), "riser.yaml")
			}
			if tt.file != "" && tt.file != "-" {
				if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := config.Load(set, "RISER_", path, tt.env, "config")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want it to contain %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, s); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
