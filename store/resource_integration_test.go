//go:build integration

package store_test

import (
	"path/filepath"
	"testing"

	"github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/store/storetest"
)

func TestResourcesInPostgreSQL(t *testing.T) {
	pg := lab.StartPostgreSQL(t)
	storetest.Resources(t, func(t *testing.T) *store.DB {
		return openPostgres(t, pg.Database(t), filepath.Join(t.TempDir(), "key"))
	})
}
