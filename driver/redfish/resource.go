package redfish

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/riser-project/riser/fault"
)

// reference is a link to a resource.
type reference struct {
	ID string `json:"@odata.id"`
}

func (r reference) or(path string) string {
	if r.ID == "" {
		return path
	}
	return r.ID
}

// words is a list of texts, which some controllers nest in further lists.
type words []string

// UnmarshalJSON takes texts at any depth up to 4 and passes over the rest.
func (w *words) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*w = nil
	w.add(v, 4)
	return nil
}

func (w *words) add(v any, depth int) {
	switch v := v.(type) {
	case string:
		*w = append(*w, v)
	case []any:
		for _, e := range v {
			if depth > 0 {
				w.add(e, depth-1)
			}
		}
	}
}

// page is a page of a collection (DSP0266, section Collections).
type page struct {
	Members []reference
	Next    string `json:"Members@odata.nextLink"`
}

// A collection is read up to these limits: no machine has more of what we look for, and log entries, which may be many, are never listed.
const (
	maxPages   = 16
	maxMembers = 512
)

// members lists the paths of a collection's members, each once.
func (s *service) members(ctx context.Context, path string) ([]string, error) {
	var list []string
	seen := map[string]bool{}
	for range maxPages {
		if seen[path] {
			return list, nil
		}
		seen[path] = true
		var p page
		if _, err := s.read(ctx, path, &p); err != nil {
			return nil, err
		}
		for _, m := range p.Members {
			id := strings.TrimSuffix(m.ID, "/")
			if id == "" || slices.Contains(list, id) {
				continue
			}
			if err := localPath(id); err != nil {
				return nil, fault.New(fault.Unavailable, "BMC %s leads to a place outside its service: %v", s.set.base, err)
			}
			if list = append(list, id); len(list) == maxMembers {
				return list, nil
			}
		}
		if p.Next == "" {
			return list, nil
		}
		path = p.Next
	}
	return list, nil
}
