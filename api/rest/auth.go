package rest

import "net/http"

// Subject is who sent a request.
type Subject struct {
	User      string // name
	UserID    string
	Project   string // ID of the project the request is scoped to, or ""
	Domain    string // ID of the user's domain
	System    bool   // scoped to the whole system
	Roles     []string
	Anonymous bool // nobody was asked who they are
}

// Authenticator tells who sent a request. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate returns the sender of r. The error is fault.Unauthorized when r says nothing, or nothing believable, about its sender, and
	// fault.Unavailable when that cannot be found out now.
	Authenticate(r *http.Request) (*Subject, error)

	// Refuse sets the headers of a 401 answer (RFC 9110, section 11.6.1) and returns its body.
	Refuse(h http.Header, text string) (contentType string, body []byte)
}

// Anyone lets every request in as an administrator of the system.
type Anyone struct{}

// Authenticate implements Authenticator.
func (Anyone) Authenticate(*http.Request) (*Subject, error) {
	return &Subject{System: true, Roles: []string{"admin", "member", "reader"}, Anonymous: true}, nil
}

// Refuse implements Authenticator. It is never called.
func (Anyone) Refuse(http.Header, string) (contentType string, body []byte) { return "", nil }

// forgetIdentity removes the headers in which a proxy in front of an OpenStack service says who a client is. No such proxy stands in front of
// us, so a client has put them there.
func forgetIdentity(h http.Header) {
	for _, k := range [...]string{
		"X-Identity-Status", "X-Service-Identity-Status", "X-User-Id", "X-User-Name", "X-User-Domain-Id", "X-User-Domain-Name", "X-User",
		"X-Project-Id", "X-Project-Name", "X-Project-Domain-Id", "X-Project-Domain-Name", "X-Domain-Id", "X-Domain-Name", "X-Tenant-Id",
		"X-Tenant-Name", "X-Tenant", "X-Roles", "X-Role", "X-Service-Roles", "X-Service-User-Id", "X-Service-User-Name",
		"X-Service-Project-Id", "X-Service-Project-Name", "X-System-Scope", "Openstack-System-Scope", "X-Is-Admin-Project",
		"X-Service-Catalog",
	} {
		delete(h, k)
	}
}
