package baremetal

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// page is the part of a list's query that every list has.
type page struct {
	limit   int
	marker  string
	sortKey string // "" means the order of creation
	desc    bool
	fields  []string
	detail  bool
}

// pageKeys are the query keys of every list.
var pageKeys = []string{"limit", "marker", "sort_key", "sort_dir", "fields", "detail"}

// readPage reads the page that a list request asks for. sortable says which fields the list may be sorted by.
func (s *service) readPage(r *rest.Request, sortable func(string) bool) (*page, error) {
	q := r.Query()
	p := &page{limit: s.cfg.MaxLimit, marker: q.Get("marker"), detail: strings.HasSuffix(r.URL.Path, "/detail")}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return nil, invalid("Expected an integer for limit: %s", text)
		case n <= 0:
			return nil, invalid("Limit must be positive")
		case n < p.limit:
			p.limit = n
		}
	}
	if p.marker != "" && !node.IsUUID(p.marker) {
		return nil, invalid("Expected UUID for marker: %s", p.marker)
	}
	if key := q.Get("sort_key"); key != "" && key != "id" {
		if !sortable(key) {
			return nil, invalid("The sort_key value \"%s\" is an invalid field for sorting", key)
		}
		p.sortKey = key
	}
	switch dir := q.Get("sort_dir"); dir {
	case "", "asc":
	case "desc":
		p.desc = true
	default:
		return nil, invalid("Invalid sort direction: %s. Acceptable values are 'asc' or 'desc'", dir)
	}
	return p, p.readFields(r)
}

func (p *page) readFields(r *rest.Request) error {
	q := r.Query()
	if q.Has("fields") {
		if err := need(r, mvFields); err != nil {
			return err
		}
		p.fields = rest.SplitFields(q.Get("fields"))
	}
	if !q.Has("detail") {
		return nil
	}
	if r.Version < mvDetail {
		return invalid("Invalid query parameter ?detail=%s received.", q.Get("detail"))
	}
	detail, err := queryBool(q, "detail")
	if err != nil {
		return err
	}
	if *detail && len(p.fields) > 0 {
		return invalid("Can't fetch a subset of fields with 'detail' set")
	}
	p.detail = p.detail || *detail
	return nil
}

// names returns the fields that the list shows, given those that it shows by default. nil means all.
func (p *page) names(byDefault ...string) []string {
	switch {
	case len(p.fields) > 0:
		return append(slices.DeleteFunc(p.fields, func(f string) bool { return f == "links" }), "links")
	case p.detail:
		return nil
	}
	return byDefault
}

// next returns the link to the page after the one whose last item has the given UUID. It keeps the whole query.
func (p *page) next(r *rest.Request, last string) string {
	var b strings.Builder
	b.WriteString(r.Endpoint() + r.URL.EscapedPath() + "?sort_key=" + p.keyOrID())
	b.WriteString("&sort_dir=" + map[bool]string{false: "asc", true: "desc"}[p.desc])
	if len(p.fields) > 0 {
		b.WriteString("&fields=" + strings.Join(slices.DeleteFunc(slices.Clone(p.fields), func(f string) bool { return f == "links" }), ","))
	}
	q := r.Query()
	keys := make([]string, 0, len(q))
	for k := range q {
		if !slices.Contains(pageKeys, k) || k == "detail" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		for _, v := range q[k] {
			b.WriteString("&" + url.QueryEscape(k) + "=" + url.QueryEscape(v))
		}
	}
	b.WriteString("&limit=" + strconv.Itoa(p.limit) + "&marker=" + last)
	return b.String()
}

func (p *page) keyOrID() string {
	if p.sortKey == "" {
		return "id"
	}
	return p.sortKey
}

// queryBool reads a boolean of a query. It is nil when the key is not there.
func queryBool(q url.Values, key string) (*bool, error) {
	if !q.Has(key) {
		return nil, nil
	}
	b, err := node.ParseBool(q.Get(key))
	if err != nil {
		return nil, invalid("Invalid %s: Unrecognized value %s, acceptable values are: %s", key, reprString(q.Get(key)), boolWords)
	}
	return &b, nil
}

// collection writes n objects as {"<key>": [...], "next": "..."}. one appends the i-th; last is the UUID of the last, for the next page.
func collection(r *rest.Request, key string, p *page, n int, one func(b []byte, i int) []byte, last string) *rest.Response {
	b := append(rest.AppendString([]byte{'{'}, key), ':', '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, i)
		if i == 0 { // the others will be about as long
			b = slices.Grow(b, n*(len(b)+len(b)/8))
		}
	}
	b = append(b, ']')
	if n > 0 && n == p.limit {
		b = append(b, `,"next":`...)
		b = rest.AppendString(b, p.next(r, last))
	}
	return rest.OK(append(b, '}'))
}

// collectionOf is collection for views that are there already.
func collectionOf[V any](r *rest.Request, key string, p *page, plan *rest.Plan[V], views []*V, id func(*V) string) *rest.Response {
	last := ""
	if len(views) > 0 {
		last = id(views[len(views)-1])
	}
	return collection(r, key, p, len(views), func(b []byte, i int) []byte { return plan.Append(b, views[i]) }, last)
}

// filter is a query key that narrows a list.
type filter[Q any] struct {
	key   string
	since int
	apply func(q *Q, value string) error
}

// applyFilters sets q from the request's query. A filter of a later version is fault.NotAcceptable.
func applyFilters[Q any](r *rest.Request, filters []filter[Q], q *Q) error {
	values := r.Query()
	for _, f := range filters {
		if !values.Has(f.key) {
			continue
		}
		if err := need(r, f.since); err != nil {
			return err
		}
		if err := f.apply(q, values.Get(f.key)); err != nil {
			return err
		}
	}
	return nil
}

func filterKeys[Q any](filters []filter[Q], more ...string) []string {
	keys := slices.Clone(pageKeys)
	for _, f := range filters {
		keys = append(keys, f.key)
	}
	return append(keys, more...)
}

// cut is the page as the store cuts it.
func (p *page) cut() store.Page {
	return store.Page{SortKey: p.sortKey, Desc: p.desc, Marker: canonical(p.marker), Limit: p.limit}
}
