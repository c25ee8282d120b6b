package trust_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/riser-project/riser/agent/wire"
)

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func FuzzJoinToken(f *testing.F) {
	f.Add("riser1.0011223344556677." + sum(nil) + "." + sum([]byte("x")))
	f.Add("riser1...")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := wire.ParseJoinToken(text)
		if err != nil {
			return
		}
		if again, err := wire.ParseJoinToken(token.Text()); err != nil || again != token {
			t.Errorf("%q is read as %q and that as %q, %v", text, token.Text(), again.Text(), err)
		}
	})
}
