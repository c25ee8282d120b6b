package compute

import (
	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/store"
)

func migrationView(r *rest.Request, m *store.Migration) map[string]any {
	v := map[string]any{
		"id": m.ID, "instance_uuid": m.Server, "status": m.Status, "source_compute": m.Source, "source_node": m.Source, "dest_compute": m.Dest,
		"dest_node": m.Dest, "dest_host": nil, "old_instance_type_id": m.Flavor, "new_instance_type_id": m.Flavor,
		"created_at": launched(m.CreatedAt), "updated_at": launched(m.UpdatedAt),
	}
	if r.Version >= vMigrationType {
		v["migration_type"], v["links"] = m.Kind, []any{}
	}
	if r.Version >= vMigrationUUID {
		v["uuid"] = m.UUID
	}
	if r.Version >= vMigrationOwner {
		v["user_id"], v["project_id"] = m.Owner, m.Project
	}
	return v
}

func (a *api) listMigrations(r *rest.Request) (*rest.Response, error) {
	q := r.Query()
	query := store.MigrationQuery{Server: q.Get("instance_uuid"), Host: q.Get("host"), Status: q.Get("status"), Kind: q.Get("migration_type"), Project: scope(r)}
	list := []any{}
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		found, err := tx.Migrations(r.Context(), query)
		for _, m := range found {
			list = append(list, migrationView(r, m))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("migrations", list)), nil
}
