package bmc

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Lie is one way in which a controller does not do or tell what it should. All of them were met in the field or are what a hostile controller
// would try.
type Lie struct {
	Name    string
	Summary string

	request func(c *Controller, w http.ResponseWriter, r *http.Request, p payload) (answered bool)
	answer  func(c *Controller, w http.ResponseWriter, r *http.Request, a *reply) (answered bool)
	reset   func(c *Controller, kind string) (a reply, done bool)
}

// Lies are all lies, by subject.
var Lies = []Lie{
	// The line.
	{Name: "hang", Summary: "accepts requests and never answers", request: hang},
	{Name: "hang-on-reset", Summary: "does not answer a reset, and does not do it", request: onReset(hang)},
	{Name: "slow-loris", Summary: "sends its answer a byte at a time", answer: slowLoris},
	{Name: "endless-body", Summary: "sends an answer without an end", answer: endless},
	{Name: "huge-body", Summary: "sends 10 MiB of JSON", answer: huge},
	{Name: "truncated-body", Summary: "closes the connection in the middle of its answer", answer: truncated},
	{Name: "empty-body", Summary: "answers 200 with nothing", answer: bodyOf("application/json", "")},
	{Name: "html-body", Summary: "answers 200 with a log-in page", answer: bodyOf("text/html", "<!DOCTYPE html><html><body>Please log in</body></html>")},
	{Name: "not-utf8", Summary: "sends bytes that are no text", answer: bodyOf("application/json; charset=latin1", "{\"Name\":\"B\xfcro\xff\"")},
	{Name: "deep-json", Summary: "nests its answer 10,000 levels deep", answer: bodyOf("application/json", strings.Repeat(`{"a":`,
		10000)+"1"+strings.Repeat("}", 10000))},
	{Name: "array-body", Summary: "answers with a list where an object belongs", answer: bodyOf("application/json", `[{"PowerState":"On"}]`)},
	{Name: "lost-answer", Summary: "does what it is told and closes the connection", answer: lostAnswer},
	{Name: "lost-request", Summary: "closes the connection on a change and does nothing", request: onChange(drop)},
	{Name: "closed", Summary: "closes every connection at once", request: drop},
	{Name: "busy", Summary: "answers 503 with Retry-After", request: status(http.StatusServiceUnavailable, "ServiceTemporarilyUnavailable",
		"Retry-After", "30")},
	{Name: "broken", Summary: "answers 500 to everything", request: status(http.StatusInternalServerError, "InternalError", "", "")},
	{Name: "redirect-link-local", Summary: "redirects to the cloud's metadata address", request: redirect("http://169.254.169.254/latest/meta-data/")},
	{Name: "redirect-other-host", Summary: "redirects to another host, to be sent its credentials", request: redirect("http://127.0.0.2:9/redfish/v1")},
	{Name: "redirect-loop", Summary: "redirects to itself", request: redirectSelf},

	// Access.
	{Name: "unauthorized", Summary: "refuses the right password", request: status(http.StatusUnauthorized, "ResourceAtUriUnauthorized", "", "")},
	{Name: "forbidden", Summary: "says the account may do nothing", request: status(http.StatusForbidden, "InsufficientPrivilege", "", "")},
	{Name: "session-full", Summary: "has no session left"},
	{Name: "session-forgotten", Summary: "forgets a session as soon as it was used once", answer: forgetSessions},
	{Name: "no-sessions", Summary: "has no session service", request: onPath("/SessionService", status(http.StatusNotFound, "ResourceMissingAtURI",
		"", ""))},
	{Name: "no-token", Summary: "opens a session but sends no token", answer: withoutToken},
	{Name: "etag-required", Summary: "changes nothing without If-Match"},
	{Name: "settings-only", Summary: "takes the boot override of a card at its Settings alone"},

	// Shapes.
	{Name: "wrong-types", Summary: "sends numbers for texts and texts for numbers", answer: change(wrongTypes)},
	{Name: "all-null", Summary: "sends null for every value", answer: change(allNull)},
	{Name: "no-members", Summary: "sends null for the members of a collection", answer: change(func(_ string, o obj) { replace(o, "Members", nil) })},
	{Name: "empty-members", Summary: "has empty collections", answer: change(func(_ string, o obj) { replace(o, "Members", []any{}) })},
	{Name: "duplicate-members", Summary: "lists each member twice", answer: change(duplicateMembers)},
	{Name: "member-loop", Summary: "sends a next page that is the same page", answer: change(memberLoop)},
	{Name: "foreign-links", Summary: "links to resources on another host", answer: change(foreignLinks)},
	{Name: "escaping-links", Summary: "links out of the service", answer: change(escapingLinks)},
	{Name: "nested-allowable", Summary: "nests its list of allowable values", answer: change(nestAllowable)},
	{Name: "no-reset-types", Summary: "does not say which resets it has", answer: change(withoutResets)},
	{Name: "two-systems", Summary: "has a second system that does not answer", answer: change(secondSystem)},
	{Name: "no-identity", Summary: "says N/A and blanks for serials and UUIDs", answer: change(noIdentity)},
	{Name: "copied-serials", Summary: "shows a card's serial on other devices too", answer: change(copiedSerials)},

	{Name: "scp-only", Summary: "fetches images by SCP alone, and says so in a list within a list", answer: change(scpOnly)},

	// Power.
	{Name: "no-op", Summary: "answers a reset with 204 and does nothing", reset: func(*Controller, string) (reply,
		bool) {
		return reply{status: http.StatusNoContent}, true
	}},
	{Name: "on-while-dead", Summary: "says On whatever the machine does", answer: change(func(_ string, o obj) { replace(o, "PowerState", "On") })},
	{Name: "flapping", Summary: "says the wrong power state now and then", answer: flapping(4)},
	{Name: "alternating", Summary: "says another power state each time", answer: flapping(2)},
	{Name: "power-null", Summary: "does not know its power state", answer: change(func(_ string, o obj) { replace(o, "PowerState", nil) })},
	{Name: "power-unknown", Summary: "says a power state that does not exist", answer: change(func(_ string, o obj) {
		replace(o, "PowerState",
			"Quiescing")
	})},
	{Name: "conflict-once", Summary: "answers 409 to the first reset", reset: conflictOnce},
	{Name: "refuse-with-act", Summary: "answers 400 to a reset and does it", reset: refuseWithAct},
	{Name: "no-restart", Summary: "lists ForceRestart and refuses it", reset: refuse("ForceRestart")},
	{Name: "no-power-cycle", Summary: "lists PowerCycle and refuses it", reset: refuse("PowerCycle")},
	{Name: "warm-reset-only", Summary: "does a warm restart when asked for a power cycle", reset: warmOnly},
	{Name: "boot-stuck", Summary: "has power, but nothing starts"},
	{Name: "boot-forgotten", Summary: "accepts a boot override and forgets it"},

	// Tasks.
	{Name: "task-never-ends", Summary: "runs an update for ever"},
	{Name: "task-vanishes", Summary: "forgets a task that runs"},
	{Name: "task-fails", Summary: "fails every update"},
}

func hang(c *Controller, _ http.ResponseWriter, r *http.Request, _ payload) bool {
	select {
	case <-r.Context().Done():
	case <-c.idle:
	}
	panic(http.ErrAbortHandler)
}

func drop(*Controller, http.ResponseWriter, *http.Request, payload) bool { panic(http.ErrAbortHandler) }

type requestLie = func(*Controller, http.ResponseWriter, *http.Request, payload) bool

func isChange(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && !strings.HasPrefix(r.URL.Path, sessionsPath)
}

func onChange(lie requestLie) requestLie {
	return func(c *Controller, w http.ResponseWriter, r *http.Request, p payload) bool {
		return isChange(r) && lie(c, w, r, p)
	}
}

func onReset(lie requestLie) requestLie { return onPath("/Actions/ComputerSystem.Reset", lie) }

func onPath(part string, lie requestLie) requestLie {
	return func(c *Controller, w http.ResponseWriter, r *http.Request, p payload) bool {
		return strings.Contains(r.URL.Path, part) && lie(c, w, r, p)
	}
}

func status(code int, id, header, value string) requestLie {
	return func(_ *Controller, w http.ResponseWriter, _ *http.Request, _ payload) bool {
		a := fail(code, id, "The request failed.")
		if header != "" {
			a = a.with(header, value)
		}
		a.write(w)
		return true
	}
}

func redirect(to string) requestLie {
	return func(_ *Controller, w http.ResponseWriter, _ *http.Request, _ payload) bool {
		reply{status: http.StatusTemporaryRedirect}.with("Location", to).write(w)
		return true
	}
}

func redirectSelf(c *Controller, w http.ResponseWriter, r *http.Request, _ payload) bool {
	reply{status: http.StatusTemporaryRedirect}.with("Location", c.URL+r.URL.Path).write(w)
	return true
}

type answerLie = func(*Controller, http.ResponseWriter, *http.Request, *reply) bool

func bodyOf(kind, body string) answerLie {
	return func(_ *Controller, w http.ResponseWriter, r *http.Request, _ *reply) bool {
		if strings.HasPrefix(r.URL.Path, sessionsPath) {
			return false
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write([]byte(body))
		return true
	}
}

func slowLoris(c *Controller, w http.ResponseWriter, r *http.Request, a *reply) bool {
	b, err := json.Marshal(a.body)
	if err != nil {
		return false
	}
	w.WriteHeader(a.status)
	for i := range b {
		_, _ = w.Write(b[i : i+1])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		select {
		case <-r.Context().Done():
			return true
		case <-c.idle:
			return true
		case <-time.After(50 * time.Millisecond):
		}
	}
	return true
}

func endless(c *Controller, w http.ResponseWriter, r *http.Request, _ *reply) bool {
	_, _ = w.Write([]byte(`{"Name":"`))
	chunk := bytes.Repeat([]byte("x"), 1<<16)
	for r.Context().Err() == nil {
		select {
		case <-c.idle:
			return true
		default:
		}
		if _, err := w.Write(chunk); err != nil {
			return true
		}
	}
	return true
}

func huge(_ *Controller, w http.ResponseWriter, _ *http.Request, _ *reply) bool {
	_, _ = w.Write([]byte(`{"Name":"`))
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range 10 {
		if _, err := w.Write(chunk); err != nil {
			return true
		}
	}
	_, _ = w.Write([]byte(`"}`))
	return true
}

func truncated(_ *Controller, w http.ResponseWriter, r *http.Request, a *reply) bool {
	b, err := json.Marshal(a.body)
	if err != nil || strings.HasPrefix(r.URL.Path, sessionsPath) || a.body == nil {
		return false
	}
	_, _ = w.Write(b[:len(b)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

func lostAnswer(_ *Controller, _ http.ResponseWriter, r *http.Request, _ *reply) bool {
	if isChange(r) {
		panic(http.ErrAbortHandler)
	}
	return false
}

func forgetSessions(c *Controller, _ http.ResponseWriter, r *http.Request, _ *reply) bool {
	if !strings.HasPrefix(r.URL.Path, sessionsPath) && r.Header.Get("X-Auth-Token") != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sessions = map[string]*session{}
	}
	return false
}

func withoutToken(_ *Controller, _ http.ResponseWriter, _ *http.Request, a *reply) bool {
	if a.header != nil {
		a.header.Del("X-Auth-Token")
	}
	return false
}
