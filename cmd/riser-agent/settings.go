package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/riser-project/riser/agent/join"
	"github.com/riser-project/riser/config"
)

// variables is the prefix of settings in the environment.
const variables = "RISER_AGENT_"

// settings are those that both agents have. A flag is also a key of the file and a RISER_AGENT_ variable.
type settings struct {
	config, server      string
	ca, cert, key       string
	identity, token     string
	logLevel, logFormat string
}

func (s *settings) flags(set *pflag.FlagSet) {
	set.StringVar(&s.config, "config", "", "YAML file with these settings as keys")
	set.StringVar(&s.server, "server", "", "URL of riser's server, as in https://riser.example:6385")
	set.StringVar(&s.ca, "ca-file", "", "PEM file with the certificates that the server's one must be signed by (default: those of the system)")
	set.StringVar(&s.cert, "cert-file", "", "PEM file with the agent's own certificate; read again at each connection, so it may be renewed")
	set.StringVar(&s.key, "key-file", "", "PEM file with the key of --cert-file")
	set.StringVar(&s.identity, "identity-folder", "", "folder for the key and the certificate that the server gives when the agent joins, as in /var/lib/riser-agent")
	set.StringVar(&s.token, "join-token-file", "", "file with the join token that an operator had made (POST /agents/v1/tokens); needed until the agent has joined")
	set.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	set.StringVar(&s.logFormat, "log-format", "text", "text or json")
}

// load fills the settings that the command line did not give, and refuses what does not go together.
func (s *settings) load(cmd *cobra.Command) error {
	file := s.config
	if file == "" {
		file = os.Getenv(config.Variable(variables, "config"))
	}
	if err := config.Load(cmd.LocalNonPersistentFlags(), variables, file, os.Environ(), "config", "help"); err != nil {
		return usage(err)
	}
	return usage(s.check())
}

func (s *settings) check() error {
	var errs []error
	if s.server == "" {
		errs = append(errs, errors.New("--server is missing: want the URL of riser's server"))
	}
	if (s.cert == "") != (s.key == "") {
		errs = append(errs, errors.New("--cert-file and --key-file go together"))
	}
	if s.identity != "" && s.cert+s.ca != "" {
		errs = append(errs, errors.New("--identity-folder holds all certificates: leave --ca-file, --cert-file and --key-file out"))
	}
	if s.token != "" && s.identity == "" {
		errs = append(errs, errors.New("--join-token-file needs --identity-folder, where to keep what comes of it"))
	}
	u, err := url.Parse(s.server)
	if err == nil && u.Scheme == "http" && s.cert+s.ca+s.identity != "" {
		errs = append(errs, fmt.Errorf("--server %s is not encrypted, so the certificates are of no use: want https", s.server))
	}
	errs = append(errs, oneOf("log-level", s.logLevel, "debug", "info", "warn", "error"), oneOf("log-format", s.logFormat, "text", "json"))
	return errors.Join(errs...)
}

// oneOf refuses a value that is none of some words.
func oneOf(name, value string, words ...string) error {
	for _, w := range words {
		if w == value {
			return nil
		}
	}
	return fmt.Errorf("--%s %q: want one of %v", name, value, words)
}

func (s *settings) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		level = slog.LevelInfo // check has refused every other word
	}
	opts := &slog.HandlerOptions{Level: level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// client returns an HTTP client with the agent's credentials. It follows no redirects: what is meant for one server is told to no other.
func (s *settings) client() (*http.Client, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS13}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file %s has no certificate in PEM form", s.ca)
		}
	}
	if s.cert != "" {
		if _, err := tls.LoadX509KeyPair(s.cert, s.key); err != nil {
			return nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(s.cert, s.key)
			return &pair, err
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// joined puts a client with the identity that the server gave into client, and joins first where there is none yet. The certificate is renewed until
// ctx ends and end has been called. Without --identity-folder, it changes nothing.
func (s *settings) joined(ctx context.Context, log *slog.Logger, client **http.Client) (end func(), err error) {
	if s.identity == "" {
		return func() {}, nil
	}
	c := join.Config{Server: s.server, Folder: s.identity, Log: log}
	if s.token != "" {
		text, err := os.ReadFile(s.token)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // it may be removed once the agent has joined
			return nil, fmt.Errorf("--join-token-file: %w", err)
		}
		c.Token = strings.TrimSpace(string(text))
	}
	credentials, err := join.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	*client = credentials.Client()
	renew, stop := context.WithCancel(ctx)
	var renewal sync.WaitGroup
	renewal.Go(func() { credentials.Run(renew) })
	return func() {
		stop()
		renewal.Wait()
	}, nil
}
