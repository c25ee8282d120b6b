package redfish

import (
	"context"
	"net/http"

	"github.com/riser-project/riser/driver"
)

// Get reads the resource at path into a struct, leniently: a value of the wrong type counts as absent. The errors are those of every reading.
func (c *Conn) Get(ctx context.Context, path string, into any) error {
	_, err := c.service.read(ctx, path, into)
	return err
}

// Members lists the paths of a collection's members, each once.
func (c *Conn) Members(ctx context.Context, path string) ([]string, error) {
	return c.service.members(ctx, path)
}

// Post shows cmd to the guard and sends an action, once. The update is that of the task, when the controller started one.
func (c *Conn) Post(ctx context.Context, cmd driver.Command, path string, body map[string]any) (driver.Update, error) {
	a, err := c.service.send(ctx, cmd, request{method: http.MethodPost, path: path, body: body})
	if err != nil {
		return driver.Update{}, err
	}
	return c.started(a)
}

// Patch shows cmd to the guard and changes a resource, under its ETag. It is for absolute changes: one that met another writer is sent again.
func (c *Conn) Patch(ctx context.Context, cmd driver.Command, path string, body map[string]any) error {
	return c.patch(ctx, path, cmd, body)
}
