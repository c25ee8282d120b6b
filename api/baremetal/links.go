package baremetal

import "github.com/riser-project/riser/api/rest"

// links is the pair of links to a resource or a part of it: itself, and a bookmark without a version.
type links struct {
	base string // endpoint
	path string // below /v1, without a slash in front: "nodes"
	id   string // of the resource, or ""
	part string // of the resource: "/ports"
	self bool   // only the link to itself
}

// AppendJSON implements rest.Appender.
func (l *links) AppendJSON(b []byte) []byte {
	b = append(b, `[{"href":`...)
	b = l.appendHref(b, "/v1/")
	b = append(b, `,"rel":"self"}`...)
	if !l.self {
		b = append(b, `,{"href":`...)
		b = l.appendHref(b, "/")
		b = append(b, `,"rel":"bookmark"}`...)
	}
	return append(b, ']')
}

func (l *links) appendHref(b []byte, root string) []byte {
	b = rest.AppendString(b, l.base)
	b = append(b[:len(b)-1], root...)
	b = append(b, l.path...)
	b = append(b, '/')
	b = unquoted(b, l.id)
	b = append(b, l.part...)
	return append(b, '"')
}

// unquoted appends s with the escapes of a JSON string but without its quotes.
func unquoted(b []byte, s string) []byte {
	n := len(b)
	b = rest.AppendString(b, s)
	copy(b[n:], b[n+1:len(b)-1])
	return b[:len(b)-2]
}
