package cli_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/riser-project/riser/cli"
)

// answers is a server that answers every request with the same body.
type answers []byte

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	_, err := rec.Write(a)
	return rec.Result(), err
}

// run runs riser in this process.
func run(t *testing.T, h *http.Client, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root := cli.New(cli.Options{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(string) string { return "" }, HTTP: h})
	root.SetArgs(args)
	code = cli.Execute(t.Context(), root)
	return code, out.String(), errs.String()
}

// FuzzOutput holds that whatever the server says, tables have nothing that a terminal obeys, and YAML says the same as the JSON it came from.
func FuzzOutput(f *testing.F) {
	for _, seed := range []string{
		`{"name": "a", "hosts": ["x"], "type": null}`, `{"name": "yes", "a": "null", "b": "1e3", "c": "0x10", "d": "=", "e": "a: b", "f": "- x", "g": "~"}`,
		`{"name": "\u001b[2J\u0085\u2028", "n": 1e3, "big": 12345678901234567890, "neg": -0.5, "list": [[], {}, [{"a": {"b": []}}]]}`,
		`{"name": "line\nline\n", "  ": " x ", "": "", "2026-11-20": "2026-11-20", "\ud83d\ude00": "\ud83d\ude00"}`, `[]`, `{"name": {"name": 7}}`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h := &http.Client{Transport: answers(body)}
		code, out, errs := run(t, h, "driver", "show", "x")
		for _, r := range out + errs {
			if unicode.IsControl(r) && r != '\n' {
				t.Fatalf("control character %q in %q", r, out+errs)
			}
		}
		if code != cli.Done {
			return
		}
		code, out, errs = run(t, h, "driver", "show", "x", "-o", "yaml")
		if code != cli.Done {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		var want, got any
		if err := json.Unmarshal(body, &want); err != nil {
			t.Skip("a number beyond float64, or more than one value")
		}
		if err := yaml.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		b, err := json.Marshal(got)
		if err == nil {
			err = json.Unmarshal(b, &got)
		}
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%v, YAML differs (-JSON +YAML):\n%s\n%s", err, d, out)
		}
	})
}

func TestTheServersCertificateIsCheckedByTheFileThatTheUserNames(t *testing.T) {
	s := httptest.NewTLSServer(newFleet())
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, nil, "conductor", "list", "--url", s.URL, "--ca-file", file); code != cli.Done || !strings.Contains(out, "c-1") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	code, _, errs := run(t, nil, "conductor", "list", "--url", s.URL)
	if code != cli.Failed || !strings.Contains(errs, "certificate") {
		t.Errorf("exit code %d with a certificate that nobody vouches for: %s", code, errs)
	}
}
