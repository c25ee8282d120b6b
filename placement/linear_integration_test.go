//go:build integration

package placement_test

import "testing"

func Test200000ClaimsAndReleasesAreLinearizable(t *testing.T) {
	linearize(t, 200000, 20)
}
