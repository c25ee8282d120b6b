package store

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// BIOSSettings returns the BIOS settings of the node as last read, by name.
func (tx *Tx) BIOSSettings(ctx context.Context, nodeUUID string) ([]*node.BIOSSetting, error) {
	var list []*node.BIOSSetting
	err := tx.each(ctx, "SELECT setting, created_at, updated_at FROM node_bios WHERE node = ? ORDER BY name", []any{nodeUUID}, func(rows *sql.Rows) error {
		b := &node.BIOSSetting{}
		list = append(list, b)
		return rows.Scan(object[node.BIOSSetting]{b}, micros{&b.CreatedAt}, micros{&b.UpdatedAt})
	})
	return list, err
}

// SetBIOSSettings replaces the BIOS settings of the node. A setting that was known keeps its CreatedAt.
func (tx *Tx) SetBIOSSettings(ctx context.Context, nodeUUID string, settings []*node.BIOSSetting) error {
	rows := make([]described, len(settings))
	for i, b := range settings {
		rows[i] = described{b.Name, b}
	}
	return tx.describe(ctx, "node_bios", "name", "setting", nodeUUID, rows)
}

// Firmware returns the firmware components of the node as last read, by name.
func (tx *Tx) Firmware(ctx context.Context, nodeUUID string) ([]*node.FirmwareComponent, error) {
	var list []*node.FirmwareComponent
	err := tx.each(ctx, "SELECT facts, created_at, updated_at FROM node_firmware WHERE node = ? ORDER BY component", []any{nodeUUID}, func(rows *sql.Rows) error {
		f := &node.FirmwareComponent{}
		list = append(list, f)
		return rows.Scan(object[node.FirmwareComponent]{f}, micros{&f.CreatedAt}, micros{&f.UpdatedAt})
	})
	return list, err
}

// SetFirmware replaces the firmware components of the node. A component that was known keeps its CreatedAt.
func (tx *Tx) SetFirmware(ctx context.Context, nodeUUID string, components []*node.FirmwareComponent) error {
	rows := make([]described, len(components))
	for i, f := range components {
		rows[i] = described{f.Component, f}
	}
	return tx.describe(ctx, "node_firmware", "component", "facts", nodeUUID, rows)
}

// described is a row of facts about a part of a node.
type described struct {
	name  string
	facts any
}

// describe makes rows the whole of what table says of the node.
func (tx *Tx) describe(ctx context.Context, table, key, facts, nodeUUID string, rows []described) error {
	w := &where{}
	w.add("node = ?", nodeUUID)
	names := make([]any, len(rows))
	for i, r := range rows {
		names[i] = r.name
		text, err := json.Marshal(r.facts)
		if err != nil {
			return err
		}
		now := toMicros(tx.Now())
		_, err = tx.exec(ctx, "INSERT INTO "+table+" (node, "+key+", "+facts+", created_at) VALUES (?, ?, ?, ?) ON CONFLICT (node, "+key+
			") DO UPDATE SET "+facts+" = excluded."+facts+", updated_at = ?", nodeUUID, r.name, string(text), now, now)
		if err != nil {
			return err
		}
	}
	gone := "DELETE FROM " + table + w.sql()
	if len(rows) > 0 {
		kept := &where{}
		in(kept, key, names)
		gone += " AND NOT (" + kept.conds[0] + ")"
		w.args = append(w.args, kept.args...)
	}
	_, err := tx.exec(ctx, gone, w.args...)
	return err
}

// Inventory returns what the last inspection of the node found. The error is fault.NotFound when there was none.
func (tx *Tx) Inventory(ctx context.Context, nodeUUID string) (*node.Inventory, error) {
	v := &node.Inventory{}
	err := tx.queryRow(ctx, "SELECT inventory, plugin_data FROM node_inventory WHERE node = ?", nodeUUID).
		Scan(object[node.Object]{&v.Inventory}, object[node.Object]{&v.PluginData})
	if noRows(err) {
		return nil, fault.New(fault.NotFound, "Node inventory for node %s could not be found.", nodeUUID)
	}
	return v, err
}

// SetInventory keeps what an inspection of the node found, in place of what an earlier one did.
func (tx *Tx) SetInventory(ctx context.Context, nodeUUID string, v *node.Inventory) error {
	found, err := asJSON(v.Inventory)
	if err != nil {
		return err
	}
	more, err := asJSON(v.PluginData)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO node_inventory (node, inventory, plugin_data) VALUES (?, ?, ?) ON CONFLICT (node)
		DO UPDATE SET inventory = excluded.inventory, plugin_data = excluded.plugin_data`, nodeUUID, found, more)
	return err
}

// ShardCount is the number of nodes, parents and children, with a shard label; Name is empty for those without.
type ShardCount struct {
	Name  string
	Count int
}

// ShardCounts returns the shard labels in use, the largest first.
func (tx *Tx) ShardCounts(ctx context.Context) ([]ShardCount, error) {
	var list []ShardCount
	err := tx.each(ctx, "SELECT shard, COUNT(*) FROM nodes GROUP BY shard ORDER BY COUNT(*) DESC, shard", nil, func(rows *sql.Rows) error {
		var c ShardCount
		err := rows.Scan(&c.Name, &c.Count)
		list = append(list, c)
		return err
	})
	return list, err
}
