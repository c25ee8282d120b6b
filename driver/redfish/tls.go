package redfish

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/riser-project/riser/fault"
)

// config builds the TLS configuration, with the CAs of redfish_verify_ca.
func (t tlsSettings) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: t.minimum, InsecureSkipVerify: !t.verify}
	for id := range strings.SplitSeq(t.ciphers, ",") {
		if n, err := strconv.ParseUint(id, 10, 16); err == nil {
			cfg.CipherSuites = append(cfg.CipherSuites, uint16(n))
		}
	}
	if t.ca == "" {
		return cfg, nil
	}
	pool, err := readCAs(t.ca)
	if err != nil {
		return nil, err
	}
	cfg.RootCAs = pool
	return cfg, nil
}

func readCAs(path string) (*x509.CertPool, error) {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "redfish_verify_ca %s: %s", path, why)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, bad("cannot be read: give the path of a CA file or folder on the conductor's host")
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*")); err != nil {
			return nil, bad("cannot be listed")
		}
	}
	pool, found := x509.NewCertPool(), false
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil || !fi.Mode().IsRegular() || fi.Size() > 1<<20 {
			continue
		}
		b, err := os.ReadFile(f) //nolint:gosec // the operator names the file
		found = err == nil && pool.AppendCertsFromPEM(b) || found
	}
	if !found {
		return nil, bad("holds no certificate in PEM form")
	}
	return pool, nil
}
