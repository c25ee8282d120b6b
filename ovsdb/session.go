package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// session is one JSON-RPC 1.0 connection to an OVSDB server (RFC 7047 section 4). Messages are handled in the order in
// which they come, replies and updates alike: that order is what makes a replica exact.
type session struct {
	conn   net.Conn
	update func(params json.RawMessage) error // of an update2 notification
	seen   func()                             // called for each message

	write sync.Mutex

	mu      sync.Mutex
	nextID  uint64
	pending map[uint64]func(message)
	err     error

	closed chan struct{}
}

type message struct {
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	ID     json.RawMessage `json:"id,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
}

// writeTimeout bounds how long a server may leave the socket unread.
const writeTimeout = 10 * time.Second

var errSessionClosed = errors.New("the connection was closed")

// newSession starts reading; close ends it, and so does any error of the connection.
func newSession(conn net.Conn, update func(json.RawMessage) error, seen func()) *session {
	s := &session{conn: conn, update: update, seen: seen, pending: map[uint64]func(message){}, closed: make(chan struct{})}
	go s.read()
	return s
}

// close ends the session and waits until its reader is gone.
func (s *session) close() {
	s.fail(errSessionClosed)
	<-s.closed
}

// failure returns why the session ended.
func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		_ = s.conn.Close()
	}
}

func (s *session) read() {
	defer close(s.closed)
	s.fail(s.readAll())
}

func (s *session) readAll() (err error) {
	// The notation's decoder in libovsdb panics on some malformed values, which must cost the connection alone.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed message: %v", r)
		}
	}()
	messages := json.NewDecoder(s.conn)
	for {
		var m message
		if err := messages.Decode(&m); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		s.seen()
		if err := s.handle(m); err != nil {
			return err
		}
	}
}

func (s *session) handle(m message) error {
	switch m.Method {
	case "":
		var id uint64
		if err := json.Unmarshal(m.ID, &id); err != nil {
			return fmt.Errorf("reply with id %s, which was never sent", m.ID)
		}
		s.mu.Lock()
		reply := s.pending[id]
		delete(s.pending, id)
		s.mu.Unlock()
		if reply != nil {
			reply(m)
		}
	case "update2":
		if err := s.update(m.Params); err != nil {
			return fmt.Errorf("update: %w", err)
		}
	case "echo":
		return s.send(map[string]any{"id": m.ID, "result": m.Params, "error": nil})
	}
	return nil
}

func (s *session) send(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := s.conn.Write(data); err != nil {
		err = fmt.Errorf("write: %w", err)
		s.fail(err)
		return err
	}
	return nil
}

// barrier returns when every update that the server made before is in the replica.
func (s *session) barrier(ctx context.Context) error {
	return s.call(ctx, "echo", []any{}, func(json.RawMessage) error { return nil })
}

// call sends a request and hands its result to handle, in order with all other messages. It returns when handle has.
func (s *session) call(ctx context.Context, method string, params any, handle func(json.RawMessage) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	s.mu.Lock()
	s.nextID++
	id := s.nextID
	s.pending[id] = func(m message) {
		if len(m.Error) > 0 && string(m.Error) != "null" {
			done <- fmt.Errorf("the server answers: %s", m.Error)
			return
		}
		done <- handle(m.Result)
	}
	s.mu.Unlock()
	if err := s.send(map[string]any{"method": method, "params": params, "id": id}); err != nil {
		return fmt.Errorf("%s: %w: %w", method, ErrNotConnected, err)
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		return nil
	case <-s.closed:
		return fmt.Errorf("%s: %w: %w", method, ErrNotConnected, s.failure())
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.pending, id)
		s.mu.Unlock()
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}
