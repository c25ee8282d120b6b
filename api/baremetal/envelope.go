package baremetal

import (
	"net/http"

	"github.com/riser-project/riser/api/rest"
)

// envelope writes an error as Ironic does. error_message is a string that itself holds JSON: clients parse it twice. Errors of limits come
// before that wrapping.
func envelope(f *rest.Failure) []byte {
	fault := func() []byte {
		b := []byte(`{"faultcode": "Client", "faultstring": `)
		if !f.Client() {
			b = []byte(`{"faultcode": "Server", "faultstring": `)
		}
		return rest.AppendString(b, f.Text)
	}
	var inner []byte
	switch f.Stage {
	case rest.Guarding:
		return append(fault(), '}')
	case rest.Routing:
		inner = append([]byte(`{"code": `), rest.AppendValue(nil, f.Status)...)
		inner = rest.AppendString(append(inner, `, "title": `...), http.StatusText(f.Status))
		inner = rest.AppendString(append(inner, `, "description": `...), f.Text)
		inner = append(inner, '}')
	default:
		inner = append(fault(), `, "debuginfo": null}`...)
	}
	return append(rest.AppendString([]byte(`{"error_message": `), string(inner)), '}')
}
