package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/riser-project/riser/client"
)

type flag = *pflag.Flag

// globals are the flags of every command that is a client.
type globals struct {
	url, token, user, passwordFile, caFile string
	output                                 string
	json                                   bool
	retry                                  time.Duration
}

func (g *globals) register(f *pflag.FlagSet) {
	f.StringVar(&g.url, "url", "", "`URL` of the server (RISER_URL; default "+client.DefaultURL+")")
	f.StringVar(&g.token, "token", "", "`token` of Keystone (RISER_TOKEN)")
	f.StringVar(&g.user, "user", "", "`name` for basic authentication (RISER_USER)")
	f.StringVar(&g.passwordFile, "password-file", "", "`file` with the user's password (RISER_PASSWORD_FILE)")
	f.StringVar(&g.caFile, "ca-file", "", "PEM `file` with the authority of the server's certificate (RISER_CA_FILE)")
	f.StringVarP(&g.output, "output", "o", "table", "`format` of the output: table, json, yaml")
	f.BoolVar(&g.json, "json", false, "the same as --output json")
	f.DurationVar(&g.retry, "retry", 0, "try again for this `long` while a node is locked, or the server not ready")
}

// configured is the value of a flag, or else of the variable that stands for it.
func (a *app) configured(flag, variable string) string {
	if flag != "" {
		return flag
	}
	return a.o.Getenv(variable)
}

// client returns a client of the server that flags and environment name.
func (a *app) client() (*client.Client, error) {
	c := &client.Client{URL: a.configured(a.flags.url, "RISER_URL"), HTTP: a.o.HTTP, Patience: a.flags.retry}
	if c.URL != "" && !strings.HasPrefix(c.URL, "http://") && !strings.HasPrefix(c.URL, "https://") {
		return nil, Usagef("--url %s must start with http:// or https://", c.URL)
	}
	token, user := a.flags.token, a.flags.user
	if token == "" && user == "" {
		token, user = a.o.Getenv("RISER_TOKEN"), a.o.Getenv("RISER_USER")
	}
	switch file := a.configured(a.flags.passwordFile, "RISER_PASSWORD_FILE"); {
	case token != "" && user != "":
		return nil, Usagef("--token and --user exclude each other, and so do RISER_TOKEN and RISER_USER")
	case token != "":
		c.Auth = client.Token(token)
	case user != "" && file == "":
		return nil, Usagef("--user %s needs --password-file", user)
	case user != "":
		b, err := os.ReadFile(file) //nolint:gosec // the user names it
		if err != nil {
			return nil, fmt.Errorf("cannot read the password of %s: %w", user, err)
		}
		c.Auth = client.Basic(user, strings.TrimRight(string(b), "\r\n"))
	case a.flags.passwordFile != "":
		return nil, Usagef("--password-file needs --user")
	}
	if file := a.configured(a.flags.caFile, "RISER_CA_FILE"); file != "" {
		h, err := trusting(file)
		if err != nil {
			return nil, err
		}
		c.HTTP = h
	}
	return c, nil
}

// trusting returns an HTTP client that trusts the authorities in a file, and no others.
func trusting(file string) (*http.Client, error) {
	b, err := os.ReadFile(file) //nolint:gosec // the user names it
	if err != nil {
		return nil, fmt.Errorf("cannot read the authority of the server's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("cannot read the authority of the server's certificate: %s has no certificate in PEM", file)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t, Timeout: 90 * time.Second}, nil
}
