package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// List gets the objects that the answer to path has under key, page by page: limit of them, or all when limit is 0. path may have a query,
// without limit and marker. It follows Ironic's next, and the links of rel next of Nova and Neutron, but always asks the server that c names.
func List[T any](ctx context.Context, c *Client, path, key string, limit int) ([]T, error) {
	where, rawQuery, _ := strings.Cut(path, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	all := []T{}
	for {
		var page map[string]json.RawMessage
		here := where + encode(query)
		if err := c.Do(ctx, http.MethodGet, here, nil, &page); err != nil {
			return nil, err
		}
		raw, ok := page[key]
		if !ok {
			return nil, fmt.Errorf("list %s: the answer has no %q", here, key)
		}
		var items []T
		if err := unmarshal(raw, &items); err != nil {
			return nil, fmt.Errorf("list %s: the answer is not the JSON that was expected: %w", here, err)
		}
		all = append(all, items...)
		if limit > 0 && len(all) >= limit {
			return all[:limit], nil
		}
		next := nextQuery(page, key)
		if next == nil {
			return all, nil
		}
		if len(items) == 0 || next.Encode() == query.Encode() {
			return nil, fmt.Errorf("list %s: the next page is the same again: the server is broken", here)
		}
		query = next
	}
}

func encode(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// nextQuery returns the query of the page that follows, or nil on the last one.
func nextQuery(page map[string]json.RawMessage, key string) url.Values {
	var next string
	if json.Unmarshal(page["next"], &next) != nil || next == "" {
		var links []struct{ Rel, Href string }
		if json.Unmarshal(page[key+"_links"], &links) != nil {
			return nil
		}
		for _, l := range links {
			if l.Rel == "next" {
				next = l.Href
			}
		}
	}
	if next == "" {
		return nil
	}
	u, err := url.Parse(next)
	if err != nil {
		return nil
	}
	return u.Query()
}
