package bmc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	sessionsPath = "/redfish/v1/SessionService/Sessions"
	sessionLife  = 30 * time.Minute
	lockAfter    = 5 // refused log-ins in a row
	lockFor      = 2 * time.Second
)

// allowed checks the request's credentials.
func (c *Controller) allowed(r *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		for _, s := range c.sessions {
			if s.token == token {
				s.used = time.Now()
				return true
			}
		}
		return false
	}
	user, password, ok := r.BasicAuth()
	return ok && c.login(user, password)
}

// login checks a password. After some refusals in a row the account is locked for a while, as real ones are.
func (c *Controller) login(user, password string) bool {
	if time.Now().Before(c.locked) {
		return false
	}
	if user != c.username || password != c.password {
		if c.refused++; c.refused >= lockAfter {
			c.refused, c.locked = 0, time.Now().Add(lockFor)
		}
		return false
	}
	c.refused = 0
	return true
}

func (c *Controller) expire() {
	for id, s := range c.sessions {
		if time.Since(s.used) > sessionLife {
			delete(c.sessions, id)
		}
	}
}

// openSession is POST to the sessions (DSP0266, section Redfish session login authentication).
func (c *Controller) openSession(p payload) reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	user, _ := p.json["UserName"].(string)
	password, _ := p.json["Password"].(string)
	switch {
	case !c.login(user, password):
		return fail(http.StatusUnauthorized, "ResourceAtUriUnauthorized", "While accessing the resource at %s, the service received an "+
			"authorization error.", sessionsPath)
	case len(c.sessions) >= c.limit || c.lies["session-full"] != nil:
		return fail(http.StatusServiceUnavailable, "SessionLimitExceeded",
			"The session establishment failed due to the number of simultaneous sessions exceeding the limit of the implementation.")
	}
	c.serial++
	s := &session{id: fmt.Sprintf("s%d", c.serial), token: rand.Text(), used: time.Now()}
	c.sessions[s.id] = s
	a := reply{status: http.StatusCreated, body: c.sessionBody(s)}
	return a.with("X-Auth-Token", s.token).with("Location", sessionsPath+"/"+s.id)
}

func (c *Controller) sessionBody(s *session) obj {
	return obj{"@odata.id": sessionsPath + "/" + s.id, "@odata.type": "#Session.v1_5_0.Session", "Id": s.id, "Name": "User Session",
		"UserName": c.username, "Password": nil}
}

func (c *Controller) session(path string) (obj, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[strings.TrimPrefix(path, sessionsPath+"/")]
	if !ok {
		return nil, false
	}
	return c.sessionBody(s), true
}

func (c *Controller) closeSession(path string) reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := strings.TrimPrefix(path, sessionsPath+"/")
	if c.sessions[id] == nil {
		return notFound(path)
	}
	delete(c.sessions, id)
	return reply{status: http.StatusNoContent}
}

func notFound(path string) reply {
	return fail(http.StatusNotFound, "ResourceMissingAtURI", "The resource at the URI '%s' was not found.", path)
}

func selfSigned(ip string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	tpl := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "bmc"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &tpl, &tpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
