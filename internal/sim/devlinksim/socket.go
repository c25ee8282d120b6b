package devlinksim

import (
	"iter"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/mdlayher/netlink"
)

// socket is the kernel's end and the user's end of one netlink socket: requests are answered while they are sent, and
// answers and notifications wait, in order, to be received.
type socket struct {
	kernel *Kernel

	mu       sync.Mutex
	arrived  sync.Cond
	received []datagram
	member   bool // of the multicast group
	closed   bool
}

type datagram struct {
	messages     []netlink.Message
	err          error
	notification bool
}

func newSocket(k *Kernel) *socket {
	s := &socket{kernel: k}
	s.arrived.L = &s.mu
	return s
}

// Close unblocks a Receive that waits.
func (s *socket) Close() error {
	s.kernel.mu.Lock()
	delete(s.kernel.sockets, s)
	s.kernel.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	s.arrived.Broadcast()
	return nil
}

// Send hands a request to the kernel, which answers at once.
func (s *socket) Send(m netlink.Message) error {
	return s.SendMessages([]netlink.Message{m})
}

// SendMessages hands requests to the kernel one after another.
func (s *socket) SendMessages(messages []netlink.Message) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	for _, m := range messages {
		answers := s.kernel.answer(m)
		s.mu.Lock()
		s.received = append(s.received, answers...)
		s.arrived.Broadcast()
		s.mu.Unlock()
	}
	return nil
}

// Receive returns the messages of the next datagram.
func (s *socket) Receive() ([]netlink.Message, error) {
	var messages []netlink.Message
	for m, err := range s.ReceiveIter() {
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// ReceiveIter yields the messages of the next datagram, and waits for one.
func (s *socket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		d := s.next()
		if d.err != nil {
			yield(netlink.Message{}, d.err)
			return
		}
		for _, m := range d.messages {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (s *socket) next() datagram {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.received) == 0 && !s.closed {
		s.arrived.Wait()
	}
	if s.closed {
		return datagram{err: net.ErrClosed}
	}
	d := s.received[0]
	s.received = s.received[1:]
	return d
}

// JoinGroup subscribes to notifications.
func (s *socket) JoinGroup(group uint32) error { return s.setMember(group, true) }

// LeaveGroup ends the subscription.
func (s *socket) LeaveGroup(group uint32) error { return s.setMember(group, false) }

func (s *socket) setMember(group uint32, member bool) error {
	if group != groupID {
		return os.NewSyscallError("setsockopt", syscall.EINVAL)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member = member
	return nil
}

func (s *socket) notify(m netlink.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.member {
		s.received = append(s.received, datagram{messages: []netlink.Message{m}, notification: true})
		s.arrived.Broadcast()
	}
}

func (s *socket) overflow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.member {
		return
	}
	s.received = slices.DeleteFunc(s.received, func(d datagram) bool { return d.notification })
	s.received = append(s.received, datagram{err: os.NewSyscallError("recvmsg", syscall.ENOBUFS)})
	s.arrived.Broadcast()
}
