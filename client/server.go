package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Server is an instance (Compute API v2.1).
type Server struct {
	ID     string       `json:"id"`
	Name   string       `json:"name"`
	Status string       `json:"status"` // BUILD, ACTIVE, SHUTOFF, ERROR ...
	Host   string       `json:"OS-EXT-SRV-ATTR:host"`
	Task   string       `json:"OS-EXT-STS:task_state"`
	Waits  string       `json:"riser:waits_for"` // what it waits for
	Fault  *ServerFault `json:"fault"`           // why the status is ERROR
}

// ServerFault says what went wrong with a server.
type ServerFault struct {
	Message string `json:"message"`
}

func serverPath(id string) string { return "/compute/v2.1/servers/" + url.PathEscape(id) }

// CreateServer asks for an instance with these fields of the API, and returns it with little more than its ID. WaitServer waits for it.
func (c *Client) CreateServer(ctx context.Context, fields node.Object) (*Server, error) {
	return create[Server](ctx, c, "/compute/v2.1/servers", "server", fields)
}

// Server returns the instance with this UUID.
func (c *Client) Server(ctx context.Context, id string) (*Server, error) {
	return show[Server](ctx, c, serverPath(id), "server")
}

// Servers lists the instances that query selects, in full.
func (c *Client) Servers(ctx context.Context, query url.Values) ([]Server, error) {
	return List[Server](ctx, c, "/compute/v2.1/servers/detail"+encode(query), "servers", 0)
}

// DeleteServer asks for the end of an instance. WaitServerGone waits for it.
func (c *Client) DeleteServer(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, serverPath(id), nil, nil)
}

// WaitServer waits until nothing is under way with an instance any more, and its status is want. The error says why it is another. seen, if
// not nil, is called with the instance as it is read, at least once.
func (c *Client) WaitServer(ctx context.Context, id, want string, seen func(*Server)) (*Server, error) {
	var s *Server
	err := poll(ctx, func() (bool, error) {
		var err error
		if s, err = c.Server(ctx, id); err != nil {
			return false, err
		}
		if seen != nil {
			seen(s)
		}
		return s.Status == "ERROR" || s.Status != "BUILD" && s.Task == "", nil
	})
	switch {
	case err != nil || s.Status == want:
		return s, err
	case s.Fault != nil && s.Fault.Message != "":
		return s, fmt.Errorf("its status is %s: %s", s.Status, s.Fault.Message)
	default:
		return s, fmt.Errorf("its status is %s instead of %s, and the server does not say why", s.Status, want)
	}
}

// WaitServerGone waits until an instance is no more. The error says why it is still there.
func (c *Client) WaitServerGone(ctx context.Context, id string) error {
	var s *Server
	err := poll(ctx, func() (bool, error) {
		var err error
		s, err = c.Server(ctx, id)
		return err == nil && s.Status == "ERROR" && s.Task == "", err
	})
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case s.Fault != nil && s.Fault.Message != "":
		return fmt.Errorf("its status is %s: %s", s.Status, s.Fault.Message)
	default:
		return fmt.Errorf("its status is %s, and the server does not say why", s.Status)
	}
}
