package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/riser-project/riser/node"
)

// Traits returns the traits of the node, sorted.
func (tx *Tx) Traits(ctx context.Context, nodeUUID string) ([]string, error) {
	return tx.strings(ctx, "SELECT trait FROM node_traits WHERE node = ? ORDER BY trait", nodeUUID)
}

// FillTraits reads the traits of the nodes into them.
func (tx *Tx) FillTraits(ctx context.Context, list []*node.Node) error {
	for part := range slices.Chunk(list, traitsAtOnce) {
		if err := tx.fillTraits(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// traitsAtOnce bounds the arguments of a statement.
const traitsAtOnce = 1000

func (tx *Tx) fillTraits(ctx context.Context, list []*node.Node) error {
	byUUID := make(map[string]*node.Node, len(list))
	uuids := make([]string, len(list))
	for i, n := range list {
		byUUID[n.UUID], uuids[i], n.Traits = n, n.UUID, []string{}
	}
	w := &where{}
	in(w, "node", uuids)
	return tx.each(ctx, "SELECT node, trait FROM node_traits"+w.sql()+" ORDER BY node, trait", w.args, func(rows *sql.Rows) error {
		var id, trait string
		err := rows.Scan(&id, &trait)
		if n := byUUID[id]; n != nil {
			n.Traits = append(n.Traits, trait)
		}
		return err
	})
}

// AddTrait gives the node a trait; it may have it already.
func (tx *Tx) AddTrait(ctx context.Context, nodeUUID, trait string) error {
	_, err := tx.exec(ctx, "INSERT INTO node_traits (node, trait) VALUES (?, ?) ON CONFLICT (node, trait) DO NOTHING", nodeUUID, trait)
	return err
}

// RemoveTrait takes a trait from the node and reports whether it had it.
func (tx *Tx) RemoveTrait(ctx context.Context, nodeUUID, trait string) (bool, error) {
	changed, err := tx.exec(ctx, "DELETE FROM node_traits WHERE node = ? AND trait = ?", nodeUUID, trait)
	return changed > 0, err
}

// SetTraits replaces the traits of the node.
func (tx *Tx) SetTraits(ctx context.Context, nodeUUID string, traits []string) error {
	if _, err := tx.exec(ctx, "DELETE FROM node_traits WHERE node = ?", nodeUUID); err != nil {
		return err
	}
	for _, t := range traits {
		if err := tx.AddTrait(ctx, nodeUUID, t); err != nil {
			return err
		}
	}
	return nil
}
