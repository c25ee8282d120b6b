package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ServerName is the DNS name in the certificate of the agents' listener. An agent asks for it whatever address it dialled: what makes a server
// riser's is that riser's own authority has signed this name, not where it is.
const ServerName = "agents.riser.internal"

// Join asks for a certificate. Token is a JoinToken's Text; it is left out when an agent renews the certificate that it has.
//
//	POST /agents/v1/join   Join -> Joined   (TLS without a client certificate)
//	POST /agents/v1/renew  Join -> Joined   (with the certificate to be replaced)
type Join struct {
	Token   string `json:"token,omitempty"`
	Request []byte `json:"request"` // PKCS #10 certificate request (RFC 2986), DER; only its key and signature count
}

// Joined is an agent's certificate. It is to be renewed when a third of its life is over.
type Joined struct {
	Kind        string `json:"kind"` // host or dpu
	Name        string `json:"name"` // of the host, or the card's serial
	Certificate []byte `json:"certificate"`
	Authority   []byte `json:"authority"` // certificate of riser's authority; both X.509, DER
}

// JoinToken is what an operator hands to one agent, so that it can join once: it proves the agent to the server, and the server to the agent.
type JoinToken struct {
	Name      string // 16 hexadecimal digits; no secret
	Secret    string // 64 hexadecimal digits
	Authority string // SHA-256 of the DER certificate of riser's authority, in hexadecimal
}

const tokenPrefix = "riser1"

// Text returns the token as an operator copies it: "riser1.NAME.SECRET.AUTHORITY".
func (t JoinToken) Text() string {
	return strings.Join([]string{tokenPrefix, t.Name, t.Secret, t.Authority}, ".")
}

// String returns the token without its secret.
func (t JoinToken) String() string { return "join token " + t.Name }

// GoString is String.
func (t JoinToken) GoString() string { return t.String() }

// ParseJoinToken reads the form of Text. The error does not hold the text.
func ParseJoinToken(text string) (JoinToken, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 4 || parts[0] != tokenPrefix {
		return JoinToken{}, errors.New("the join token is not of the form riser1.NAME.SECRET.AUTHORITY")
	}
	for i, want := range []struct {
		what  string
		bytes int
	}{{"name", 8}, {"secret", 32}, {"authority", 32}} {
		if b, err := hex.DecodeString(parts[i+1]); err != nil || len(b) != want.bytes {
			return JoinToken{}, fmt.Errorf("the join token is damaged: its %s is not of %d hexadecimal digits", want.what, 2*want.bytes)
		}
	}
	return JoinToken{Name: parts[1], Secret: parts[2], Authority: parts[3]}, nil
}
