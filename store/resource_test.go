package store_test

import (
	"path/filepath"
	"testing"

	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/store/storetest"
)

func TestResourcesInSQLite(t *testing.T) {
	storetest.Resources(t, func(t *testing.T) *store.DB { return open(t, filepath.Join(t.TempDir(), "riser.db")) })
}
