package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/trust"
)

var (
	host = trust.Agent{Kind: store.HostAgent, Name: "cmp1"}
	dpu  = trust.Agent{Kind: store.DPUAgent, Name: "MT2113X00001"}
)

type lab struct {
	testing.TB
	dir       string
	db        *store.DB
	authority *trust.Authority
}

func open(t testing.TB) *lab {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "riser.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	a, err := trust.Open(t.Context(), trust.Options{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	return &lab{t, dir, db, a}
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) token(agent trust.Agent) string {
	l.Helper()
	t, _, err := l.authority.NewToken(l.Context(), agent, 0, "operator")
	l.must(err)
	return t.Text()
}

func (l *lab) key() *ecdsa.PrivateKey {
	l.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	l.must(err)
	return k
}

func (l *lab) request(key crypto.Signer) []byte {
	l.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	l.must(err)
	return der
}

func (l *lab) join(token string, key crypto.Signer) (*wire.Joined, error) {
	l.Helper()
	return l.authority.Join(l.Context(), &wire.Join{Token: token, Request: l.request(key)})
}

// connection is what a TLS server sees of an agent with this certificate, after it was verified as ServerTLS says.
func (l *lab) connection(j *wire.Joined) *tls.ConnectionState {
	l.Helper()
	leaf, err := x509.ParseCertificate(j.Certificate)
	l.must(err)
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: l.authority.ServerTLS().ClientCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	l.must(err)
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: chains}
}

func (l *lab) identify(j *wire.Joined) (*trust.Identity, error) {
	l.Helper()
	return l.authority.Identify(l.Context(), l.connection(j))
}

func (l *lab) wantKind(err error, kind fault.Kind, words ...string) {
	l.Helper()
	if !fault.Is(err, kind) {
		l.Fatalf("error %v, want %s", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			l.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestAnAgentJoinsOnceAndIsKnownByItsCertificate(t *testing.T) {
	l := open(t)
	for _, agent := range []trust.Agent{host, dpu} {
		token, key := l.token(agent), l.key()
		joined, err := l.join(token, key)
		l.must(err)
		id, err := l.identify(joined)
		l.must(err)
		if id.Agent != agent || joined.Name != agent.Name {
			t.Errorf("identified as %s, want %s", id.Agent, agent)
		}
		_, err = l.join(token, l.key())
		l.wantKind(err, fault.Unauthorized, "unknown, expired or used")
		if _, err := l.join(token, key); err != nil {
			t.Errorf("the same key again, after an answer was lost: %v", err)
		}
	}
}

func TestWhatIsNoTokenOrNoRequestIsRefused(t *testing.T) {
	l := open(t)
	good := l.token(host)
	parsed, err := wire.ParseJoinToken(good)
	l.must(err)
	forged := parsed
	forged.Secret = strings.Repeat("0", 64)
	short, _, err := l.authority.NewToken(t.Context(), host, time.Second, "")
	l.must(err)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	l.must(err)
	broken := l.request(l.key())
	broken[len(broken)-1] ^= 1
	time.Sleep(1100 * time.Millisecond) // tokens end by the database's clock, which no test can turn
	for name, tt := range map[string]struct {
		token   string
		request []byte
		want    fault.Kind
	}{
		"no token":                     {"", l.request(l.key()), fault.Unauthorized},
		"a token of another form":      {"riser1.x", l.request(l.key()), fault.Unauthorized},
		"a token with a forged secret": {forged.Text(), l.request(l.key()), fault.Unauthorized},
		"a token that expired":         {short.Text(), l.request(l.key()), fault.Unauthorized},
		"no request":                   {good, nil, fault.Invalid},
		"a request that is none":       {good, []byte("x"), fault.Invalid},
		"a request signed by nobody":   {good, broken, fault.Invalid},
		"a request with an RSA key":    {good, l.request(weak), fault.Invalid},
		"a request that is too large":  {good, make([]byte, 9000), fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := l.authority.Join(t.Context(), &wire.Join{Token: tt.token, Request: tt.request})
			if !fault.Is(err, tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), parsed.Secret) {
				t.Errorf("the error holds the secret: %s", err)
			}
		})
	}
	if _, err := l.join(good, l.key()); err != nil {
		t.Errorf("the good token after all of that: %v", err)
	}
}

func TestTokensAreForThoseThatCanBe(t *testing.T) {
	l := open(t)
	for name, tt := range map[string]struct {
		agent trust.Agent
		life  time.Duration
	}{
		"a kind that is none":            {trust.Agent{Kind: "switch", Name: "x"}, 0},
		"a host name that is none":       {trust.Agent{Kind: store.HostAgent, Name: "a b"}, 0},
		"a serial that is a placeholder": {trust.Agent{Kind: store.DPUAgent, Name: "N/A"}, 0},
		"a serial with blanks":           {trust.Agent{Kind: store.DPUAgent, Name: " MT1"}, 0},
		"a life that is over":            {host, -time.Second},
		"a life without end":             {host, 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := l.authority.NewToken(t.Context(), tt.agent, tt.life, ""); !fault.Is(err, fault.Invalid) {
				t.Errorf("error %v, want it invalid", err)
			}
		})
	}
}

func TestAPinnedAgentIsNotTakenOverUntilAnOperatorApproves(t *testing.T) {
	l := open(t)
	first, err := l.join(l.token(dpu), l.key())
	l.must(err)
	token, key := l.token(dpu), l.key()
	for range 2 {
		_, err = l.join(token, key)
		l.wantKind(err, fault.Conflict, "MT2113X00001", "an operator approves")
	}
	if _, err := l.identify(first); err != nil {
		t.Fatalf("the one that joined first suffers: %v", err)
	}
	_, err = l.authority.Approve(t.Context(), dpu, "0123")
	l.wantKind(err, fault.NotFound)
	_, err = l.join(l.token(dpu), l.key())
	l.wantKind(err, fault.Conflict)
	_, err = l.authority.Approve(t.Context(), dpu, "")
	l.wantKind(err, fault.Conflict, "Several keys")

	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	l.must(err)
	chosen, err := l.authority.Approve(t.Context(), dpu, sum(pub)[:12])
	l.must(err)
	second, err := l.join(token, key)
	l.must(err)
	if id, err := l.identify(second); err != nil || id.UUID != chosen.UUID {
		t.Errorf("the approved one: %+v, %v", id, err)
	}
	_, err = l.identify(first)
	l.wantKind(err, fault.Unauthorized, "revoked")
}

func TestARenewedCertificateTakesThePlaceOfTheOldOneWhenItIsUsed(t *testing.T) {
	l := open(t)
	first, err := l.join(l.token(host), l.key())
	l.must(err)
	id, err := l.identify(first)
	l.must(err)
	renew := func(id *trust.Identity) (*wire.Joined, error) {
		return l.authority.Renew(t.Context(), id, &wire.Join{Request: l.request(l.key())})
	}
	lost, err := renew(id)
	l.must(err)
	second, err := renew(id)
	l.must(err)
	if _, err := l.identify(first); err != nil {
		t.Fatalf("the old certificate before the new one was used: %v", err)
	}
	_, err = l.identify(lost)
	l.wantKind(err, fault.Unauthorized, "replaced")
	woken, cancel := l.db.Subscribe(store.TopicIdentity(id.UUID))
	defer cancel()
	if _, err := l.identify(second); err != nil {
		t.Fatal(err)
	}
	select {
	case <-woken:
	default:
		t.Error("who waits with the old certificate is not told")
	}
	_, err = l.identify(first)
	l.wantKind(err, fault.Unauthorized, "replaced")
	_, err = renew(id)
	l.wantKind(err, fault.Unauthorized, "replaced")
}

func TestRevokingEndsCertificatesAndTokensAtOnce(t *testing.T) {
	l := open(t)
	joined, err := l.join(l.token(host), l.key())
	l.must(err)
	id, err := l.identify(joined)
	l.must(err)
	left := l.token(host)
	l.must(l.authority.Revoke(t.Context(), host, "stolen"))
	_, err = l.identify(joined)
	l.wantKind(err, fault.Unauthorized, "revoked")
	_, err = l.authority.Renew(t.Context(), id, &wire.Join{Request: l.request(l.key())})
	l.wantKind(err, fault.Unauthorized, "revoked")
	_, err = l.join(left, l.key())
	l.wantKind(err, fault.Unauthorized)
	l.wantKind(l.authority.Revoke(t.Context(), host, ""), fault.NotFound)
	if _, err := l.join(l.token(host), l.key()); err != nil {
		t.Errorf("joining with a token that was made after that: %v", err)
	}
}

func TestOnlyTheAuthoritysCertificatesAreBelieved(t *testing.T) {
	l := open(t)
	joined, err := l.join(l.token(host), l.key())
	l.must(err)
	state := l.connection(joined)
	_, err = l.authority.Identify(t.Context(), nil)
	l.wantKind(err, fault.Unauthorized, "join first")
	_, err = l.authority.Identify(t.Context(), &tls.ConnectionState{PeerCertificates: state.PeerCertificates})
	l.wantKind(err, fault.Unauthorized, "join first")

	other := open(t)
	_, err = other.authority.Identify(t.Context(), state)
	l.wantKind(err, fault.Unauthorized, "no agent that is known")
	if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: other.authority.ServerTLS().ClientCAs}); err == nil {
		t.Error("another authority's listener takes the certificate")
	}

	late := *state.PeerCertificates[0]
	late.NotAfter = time.Now().Add(-time.Second)
	state.PeerCertificates = []*x509.Certificate{&late}
	_, err = l.authority.Identify(t.Context(), state)
	l.wantKind(err, fault.Unauthorized, "expired")
}

func TestAllProcessesAreOneAuthorityAndItsKeyIsNotInTheFiles(t *testing.T) {
	l := open(t)
	again, err := trust.Open(t.Context(), trust.Options{DB: l.db})
	l.must(err)
	token, _, err := again.NewToken(t.Context(), host, 0, "")
	l.must(err)
	joined, err := l.join(token.Text(), l.key())
	l.must(err)
	if id, err := again.Identify(t.Context(), l.connection(joined)); err != nil || id.Agent != host {
		t.Errorf("the other process sees %+v, %v", id, err)
	}
	var key []byte
	l.must(l.db.Read(t.Context(), func(tx *store.Tx) (err error) {
		_, key, err = tx.Authority(t.Context())
		return err
	}))
	files, err := os.ReadDir(l.dir)
	l.must(err)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(l.dir, f.Name()))
		l.must(err)
		for what, secret := range map[string]string{"the authority's key": string(key), "a token's secret": token.Secret} {
			if strings.Contains(string(b), secret) {
				t.Errorf("%s holds %s", f.Name(), what)
			}
		}
	}
	for _, text := range []string{fmt.Sprint(token), fmt.Sprintf("%+v", token), fmt.Sprintf("%#v", token)} {
		if strings.Contains(text, token.Secret) {
			t.Errorf("printed, a token shows its secret: %s", text)
		}
	}
}

func BenchmarkIdentify(b *testing.B) {
	l := open(b)
	joined, err := l.join(l.token(host), l.key())
	l.must(err)
	state := l.connection(joined)
	for b.Loop() {
		if _, err := l.authority.Identify(b.Context(), state); err != nil {
			b.Fatal(err)
		}
	}
}
