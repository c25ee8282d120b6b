package join

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/riser-project/riser/agent/wire"
)

// file is the name of the file with the key, the certificate and the authority's certificate, in PEM.
const file = "identity.pem"

const maxAnswer = 1 << 20 // bytes

// pair is a key and the certificate for it, which is nil until the agent has joined.
type pair struct {
	key       *ecdsa.PrivateKey
	leaf      *x509.Certificate
	authority *x509.Certificate
}

func newPair() (*pair, error) {
	key, err := newKey()
	return &pair{key: key}, err
}

// load reads what is in a folder, nil when there is nothing.
func load(folder string) (*pair, error) {
	name := filepath.Join(folder, file)
	info, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %04o): chmod 600 it, and have the agent join anew", name, info.Mode().Perm())
	}
	text, err := os.ReadFile(name) //nolint:gosec // the folder is the operator's own choice
	if err != nil {
		return nil, err
	}
	p := &pair{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "EC PRIVATE KEY":
			p.key, err = x509.ParseECPrivateKey(block.Bytes)
		case p.leaf == nil:
			p.leaf, err = x509.ParseCertificate(block.Bytes)
		default:
			p.authority, err = x509.ParseCertificate(block.Bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("%s is damaged: %w", name, err)
		}
	}
	if p.key == nil || p.leaf != nil && p.authority == nil {
		return nil, fmt.Errorf("%s is damaged: it lacks a key or the authority's certificate; remove it, and have the agent join anew", name)
	}
	return p, nil
}

// save writes the pair in place of what is in the folder, wholly or not at all.
func (p *pair) save(folder string) error {
	key, err := x509.MarshalECPrivateKey(p.key)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	blocks := []*pem.Block{{Type: "EC PRIVATE KEY", Bytes: key}}
	if p.leaf != nil {
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: p.leaf.Raw}, &pem.Block{Type: "CERTIFICATE", Bytes: p.authority.Raw})
	}
	for _, b := range blocks {
		if err := pem.Encode(&text, b); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, file+".") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(folder, file))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (p *pair) request() ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p.key)
}

// take takes the certificate that the server gave, if it is for the key and by the authority with this hash.
func (p *pair) take(j *wire.Joined, authority string) error {
	leaf, err := x509.ParseCertificate(j.Certificate)
	if err != nil {
		return fmt.Errorf("the server's certificate for this agent: %w", err)
	}
	root, err := x509.ParseCertificate(j.Authority)
	if err != nil {
		return fmt.Errorf("the certificate of the server's authority: %w", err)
	}
	if hashOf(root.Raw) != authority {
		return errors.New("the server's authority is not the one that the agent knows")
	}
	if err := leaf.CheckSignatureFrom(root); err != nil {
		return fmt.Errorf("the server's certificate for this agent: %w", err)
	}
	if !p.key.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("the server's certificate is for another key")
	}
	p.leaf, p.authority = leaf, root
	return nil
}

func (p *pair) tls() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{p.leaf.Raw}, PrivateKey: p.key, Leaf: p.leaf}
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// refusal is an answer that is not 2xx.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answers %d %s: %s", r.status, http.StatusText(r.status), r.text)
}

// final tells whether the same request would be refused again. A conflict is not: it waits for an operator.
func (r *refusal) final() bool {
	return r.status == http.StatusBadRequest || r.status == http.StatusUnauthorized || r.status == http.StatusForbidden
}

// post sends a message. The error is a *refusal if the server answered.
func post(ctx context.Context, client *http.Client, u *url.URL, message, answer any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		r := &refusal{resp.StatusCode, "no reason is given"}
		var e wire.Error
		if json.Unmarshal(text, &e) == nil && e.Error != "" {
			r.text = e.Error
		}
		return r
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}
