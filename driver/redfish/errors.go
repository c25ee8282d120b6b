package redfish

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/riser-project/riser/fault"
)

// complaint is an error body (DSP0266, section Error responses).
type complaint struct {
	Error struct {
		Code     string
		Message  string
		Extended []struct {
			MessageID  string `json:"MessageId"`
			Message    string
			Resolution string
		} `json:"@Message.ExtendedInfo"`
	}
}

// unsupported are the messages (DMTF Base registry) that say that the machine does not have what was asked for.
var unsupported = []string{
	"ActionNotSupported", "ActionParameterNotSupported", "ActionParameterValueNotInList", "PropertyValueNotInList", "PropertyUnknown",
	"PropertyNotWritable", "OperationNotAllowed",
}

// verdict turns a status into an error, or nil for success and redirects.
func (s *service) verdict(r request, a *answer) error {
	if a.status < 400 {
		return nil
	}
	said, ids := s.complaint(a)
	what := fmt.Sprintf("BMC %s answered %s %s with %d%s", s.set.base, r.method, r.path, a.status, said)
	kind := fault.Unavailable
	switch a.status {
	case http.StatusUnauthorized:
		return fault.New(fault.Unauthorized, "BMC %s refused the credentials; correct redfish_username and redfish_password (it is not tried "+
			"again, so the account is not locked)", s.set.base)
	case http.StatusForbidden:
		kind = fault.Forbidden
		what += "; the account lacks a privilege"
	case http.StatusNotFound:
		kind = fault.NotFound
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		kind = fault.Unsupported
	case http.StatusBadRequest:
		kind = fault.Invalid
		if slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(unsupported, id) }) {
			kind = fault.Unsupported
		}
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		kind = fault.Conflict
	default:
		if a.status < 500 && a.status != http.StatusTooManyRequests {
			kind = fault.Invalid
		}
	}
	return fault.New(kind, "%s", what)
}

// complaint returns the text of an error body for people, with a leading colon, and the ids of its messages.
func (s *service) complaint(a *answer) (text string, ids []string) {
	var c complaint
	if len(a.body) > 0 && a.body[0] == '{' {
		_ = json.Unmarshal(a.body, &c) // what is there counts
	}
	message := c.Error.Message
	for i, e := range c.Error.Extended {
		ids = append(ids, e.MessageID[strings.LastIndex(e.MessageID, ".")+1:])
		if i == 0 && e.Message != "" {
			message = e.Message
		}
	}
	ids = append(ids, c.Error.Code[strings.LastIndex(c.Error.Code, ".")+1:])
	if message = s.clean(message); message == "" {
		return "", ids
	}
	return ": " + message, ids
}

// clean makes a controller's text fit for ours: one line, not long, and without the password should it be echoed.
func (s *service) clean(text string) string {
	if s.set.password != "" {
		text = strings.ReplaceAll(text, s.set.password, "***")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	return clip(strings.TrimSpace(text), 300)
}

// clip cuts text to n bytes, at a rune.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "..."
}
