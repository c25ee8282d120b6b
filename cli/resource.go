package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/node"
)

// actions are the commands that a resource has.
type actions uint8

const (
	canList actions = 1 << iota
	canShow
	canCreate
	canSet   // and unset, where the API patches
	canUndo  // unset
	canErase // delete

	canAll = canList | canShow | canCreate | canSet | canUndo | canErase
)

// lookUp says how to find the object with a name.
type lookUp uint8

const (
	notNeeded lookUp = iota // the API takes names in place of UUIDs
	byFilter                // in the list that is filtered by the name
	byPattern               // in the list that is filtered by a regular expression for the name
	inAll                   // in the whole list, which is short
)

// resource is a kind of object that the API lists, shows, makes, changes and deletes in the same way as all others. To add one is to add a
// row to a table.
type resource struct {
	name    string // of the command
	one     string // in sentences; empty means the name
	path    string // of the collection
	key     string // under which the collection's answer has the objects
	wrap    string // under which bodies of single objects have it; empty for none
	can     actions
	columns []column // of lists
	front   []string // fields that come first when one is shown
	fields  []field  // that a user may write

	names   string // field that CREATE's argument [NAME] goes to; empty when it takes none
	whole   string // query for whole objects in a list, when that is not the default
	narrow  bool   // a list may be cut to fields
	lookUp  lookUp // of a name
	put     bool   // changes are put, not patched
	filters string // of lists, for their help
}

func (r *resource) noun() string {
	if r.one != "" {
		return r.one
	}
	return r.name
}

// commands returns the resource's commands.
func (a *app) commands(r *resource) []*cobra.Command {
	var list []*cobra.Command
	for _, row := range []struct {
		can  actions
		make func(*resource) *cobra.Command
	}{{canList, a.listing}, {canShow, a.showing}, {canCreate, a.creating}, {canSet, a.setting}, {canUndo, a.unsetting}, {canErase, a.deleting}} {
		if r.can&row.can != 0 {
			list = append(list, row.make(r))
		}
	}
	return list
}

// groups returns a command for each resource.
func (a *app) groups(table []*resource) []*cobra.Command {
	list := make([]*cobra.Command, len(table))
	for i, r := range table {
		list[i] = group(r.name, capital(plural(r.noun())), a.commands(r)...)
	}
	return list
}

func plural(s string) string {
	if strings.HasSuffix(s, "s") {
		return s
	}
	return s + "s"
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// with gives run a client.
func (a *app) with(run func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		return run(cmd.Context(), c, args)
	}
}

// cannot says what could not be done, and to what. A mistake in the use of the command stays one.
func cannot(what string, err error) error {
	var wrong *usageError
	if err == nil || errors.As(err, &wrong) {
		return err
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}

func (a *app) listing(r *resource) *cobra.Command {
	cmd := &cobra.Command{Use: "list [FILTER=VALUE]...", Short: "List " + plural(r.noun())}
	if r.filters != "" {
		cmd.Long = cmd.Short + ". Filters: " + r.filters + "."
	}
	limit := cmd.Flags().Int("limit", 0, "list at most this `many`")
	var fields *string
	if r.narrow {
		fields = cmd.Flags().String("fields", "", "show these `fields`, separated by commas")
	}
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		query, err := readFilters(args)
		if err != nil {
			return err
		}
		columns := r.columns
		if fields != nil && *fields != "" {
			columns = columnsOf(*fields)
		}
		if *limit < 0 {
			return Usagef("--limit %d must be 0 or more", *limit)
		}
		a.narrow(r, query, columns, fields != nil && *fields != "")
		items, err := client.List[json.RawMessage](ctx, c, r.path+suffix(query), r.key, *limit)
		if err != nil {
			return cannot("list "+plural(r.noun()), err)
		}
		return a.list(columns, items)
	})
	return cmd
}

// narrow asks for no more fields than the output shows: whole objects for programs, unless they named fields.
func (a *app) narrow(r *resource, query url.Values, columns []column, named bool) {
	format, err := a.format()
	switch {
	case err != nil: // told before the command ran
	case r.narrow && (named || format == "table"):
		var fields []string
		for _, c := range columns {
			first, _, _ := strings.Cut(c.path, ".")
			if !slices.Contains(fields, first) {
				fields = append(fields, first)
			}
		}
		query.Set("fields", strings.Join(fields, ","))
	case r.whole != "":
		key, value, _ := strings.Cut(r.whole, "=")
		query.Set(key, value)
	}
}

func columnsOf(fields string) []column {
	var list []column
	for name := range strings.SplitSeq(fields, ",") {
		name = strings.TrimSpace(name)
		list = append(list, column{title: strings.ToUpper(name), path: name})
	}
	return list
}

// readFilters reads FILTER=VALUE arguments. A filter may be given twice.
func readFilters(args []string) (url.Values, error) {
	query := url.Values{}
	for _, arg := range args {
		key, value, found := strings.Cut(arg, "=")
		if !found || key == "" {
			return nil, Usagef("%q must be FILTER=VALUE", arg)
		}
		query.Add(key, value)
	}
	return query, nil
}

func suffix(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// argument is the name of the argument that names an object of the resource.
func (r *resource) argument() string {
	words := strings.Fields(r.noun())
	return strings.ToUpper(words[len(words)-1])
}

func (a *app) showing(r *resource) *cobra.Command {
	cmd := &cobra.Command{Use: "show " + r.argument(), Short: "Show a " + r.noun() + " whole"}
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		raw, err := a.get(ctx, c, r, args[0])
		if err != nil {
			return cannot("show "+r.noun()+" "+args[0], err)
		}
		return a.show(r.front, raw)
	})
	return cmd
}

// get returns one object of the resource.
func (a *app) get(ctx context.Context, c *client.Client, r *resource, ref string) (json.RawMessage, error) {
	at, err := a.at(ctx, c, r, ref)
	if err != nil {
		return nil, err
	}
	return call(ctx, c, r, http.MethodGet, at, nil)
}

// call sends a request about one object, and returns the object of the answer.
func call(ctx context.Context, c *client.Client, r *resource, method, path string, in any) (json.RawMessage, error) {
	var raw json.RawMessage
	if err := c.Do(ctx, method, path, in, &raw); err != nil || r.wrap == "" {
		return raw, err
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || m[r.wrap] == nil {
		return nil, fmt.Errorf("the answer has no %q", r.wrap)
	}
	return m[r.wrap], nil
}

// at returns the path of one object.
func (a *app) at(ctx context.Context, c *client.Client, r *resource, ref string) (string, error) {
	ref, err := a.resolve(ctx, c, r, ref)
	return r.path + "/" + url.PathEscape(ref), err
}

// resolve returns what the API knows an object by: its UUID, if it does not know names.
func (a *app) resolve(ctx context.Context, c *client.Client, r *resource, ref string) (string, error) {
	if r.lookUp == notNeeded || node.IsUUID(ref) {
		return ref, nil
	}
	query := url.Values{}
	switch r.lookUp {
	case byFilter:
		query.Set("name", ref)
	case byPattern:
		query.Set("name", "^"+regexp.QuoteMeta(ref)+"$")
	}
	type named struct{ ID, Name string }
	list, err := client.List[named](ctx, c, r.path+suffix(query), r.key, 0)
	if err != nil {
		return "", err
	}
	found := slices.DeleteFunc(list, func(o named) bool { return o.Name != ref && o.ID != ref }) // not every API filters by the whole name
	switch len(found) {
	case 0:
		return "", fmt.Errorf("there is no %s with the name %s: \"riser %s list\" shows what there is", r.noun(), ref, r.name)
	case 1:
		return found[0].ID, nil
	}
	return "", fmt.Errorf("%d %s have the name %s: say which by its UUID, %s or %s", len(found), plural(r.noun()), ref, found[0].ID, found[1].ID)
}

func (a *app) creating(r *resource) *cobra.Command {
	cmd := &cobra.Command{Use: "create", Short: "Make a " + r.noun()}
	if r.names != "" {
		cmd.Use = "create [NAME]"
	}
	form := newForm(cmd, r.fields, toCreate)
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		if err := form.missing(); err != nil {
			return err
		}
		o, err := form.object(ctx, a, c)
		if err != nil {
			return cannot("make the "+r.noun(), err)
		}
		if len(args) > 0 {
			o[r.names] = args[0]
		}
		return a.create(ctx, c, r, o)
	})
	return cmd
}

// create makes an object with these fields, and shows it.
func (a *app) create(ctx context.Context, c *client.Client, r *resource, o object) error {
	var body any = o
	if r.wrap != "" {
		body = object{r.wrap: o}
	}
	raw, err := call(ctx, c, r, http.MethodPost, r.path, body)
	if err != nil {
		what := "make the " + r.noun()
		if name, ok := o["name"].(string); ok {
			what += " " + name
		}
		return cannot(what, err)
	}
	return a.show(r.front, raw)
}

func (a *app) setting(r *resource) *cobra.Command {
	cmd := &cobra.Command{Use: "set " + r.argument(), Short: "Change fields of a " + r.noun()}
	form := newForm(cmd, r.fields, toSet)
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		return cannot("change "+r.noun()+" "+args[0], a.change(ctx, c, r, args[0], form, toSet))
	})
	return cmd
}

func (a *app) unsetting(r *resource) *cobra.Command {
	cmd := &cobra.Command{Use: "unset " + r.argument(), Short: "Set fields of a " + r.noun() + " back to their defaults"}
	form := newForm(cmd, r.fields, toUnset)
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		return cannot("change "+r.noun()+" "+args[0], a.change(ctx, c, r, args[0], form, toUnset))
	})
	return cmd
}

// change changes an object as the form says, and shows it to programs.
func (a *app) change(ctx context.Context, c *client.Client, r *resource, ref string, f *form, p purpose) error {
	var body any
	method := http.MethodPatch
	if r.put {
		o, err := f.object(ctx, a, c)
		if err != nil {
			return err
		}
		if len(o) == 0 {
			return Usagef("say what to change, by a flag")
		}
		method, body = http.MethodPut, object{r.wrap: o}
	} else {
		list, err := f.changes(ctx, a, p)
		if err != nil {
			return err
		}
		body = list
	}
	at, err := a.at(ctx, c, r, ref)
	if err != nil {
		return err
	}
	raw, err := call(ctx, c, r, method, at, body)
	if err != nil {
		return err
	}
	if format, err := a.format(); err != nil || format != "table" {
		return a.data(format, raw)
	}
	a.say("%s %s: changed", r.noun(), ref)
	return nil
}

func (a *app) deleting(r *resource) *cobra.Command {
	cmd := &cobra.Command{Use: "delete " + r.argument() + "...", Short: "Delete " + plural(r.noun())}
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		return each(args, func(ref string) error {
			at, err := a.at(ctx, c, r, ref)
			if err == nil {
				err = c.Do(ctx, http.MethodDelete, at, nil, nil)
			}
			if err == nil {
				a.say("%s %s: deleted", r.noun(), ref)
			}
			return cannot("delete "+r.noun()+" "+ref, err)
		})
	})
	return cmd
}

// each does the same to all, and then tells of all that failed.
func each(refs []string, do func(ref string) error) error {
	var failed []error
	for _, ref := range refs {
		if err := do(ref); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
