package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
)

// nodeList is "node list": of a table, or of a tree of hosts and their DPUs.
func (a *app) nodeList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [FILTER=VALUE]...", Short: "List nodes",
		Long: "List nodes. DPUs are among them with --tree or --all.\n\nFilters: " + nodeFilters + ".",
	}
	f := cmd.Flags()
	tree := f.Bool("tree", false, "show each host with its DPUs below it")
	all := f.Bool("all", false, "list child nodes, too")
	sort := f.String("sort", "", "sort by this `field`, which may end in :desc")
	fields := f.String("fields", "", "show these `fields`, separated by commas")
	limit := f.Int("limit", 0, "list at most this `many`")
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		query, err := readFilters(args)
		switch {
		case err != nil:
			return err
		case *limit < 0:
			return Usagef("--limit %d must be 0 or more", *limit)
		case *tree && (*fields != "" || *limit > 0):
			return Usagef("--tree shows all nodes with fields of its own: leave out --fields and --limit")
		}
		if *all || *tree {
			query.Set("include_children", "true")
		}
		sorted(query, *sort)
		if format, err := a.format(); *tree && err == nil && format == "table" {
			return cannot("list nodes", a.tree(ctx, c, query))
		}
		columns := machine.columns
		if *fields != "" {
			columns = columnsOf(*fields)
		}
		a.narrow(machine, query, columns, *fields != "")
		items, err := client.List[json.RawMessage](ctx, c, "/v1/nodes"+suffix(query), "nodes", *limit)
		if err != nil {
			return cannot("list nodes", err)
		}
		return a.list(columns, items)
	})
	return cmd
}

// sorted puts the order "field", "field:asc" or "field:desc" into the query of a list.
func sorted(query url.Values, order string) {
	if order == "" {
		return
	}
	key, dir := order, ""
	for _, d := range []string{"asc", "desc"} {
		if n := len(order) - len(d) - 1; n > 0 && order[n:] == ":"+d {
			key, dir = order[:n], d
		}
	}
	query.Set("sort_key", key)
	if dir != "" {
		query.Set("sort_dir", dir)
	}
}

// tree writes each host with its children below it.
func (a *app) tree(ctx context.Context, c *client.Client, query url.Values) error {
	query.Set("fields", "uuid,name,driver,power_state,provision_state,parent_node,properties,maintenance")
	list, err := c.Nodes(ctx, query)
	if err != nil {
		return err
	}
	a.table([]string{"NODE", "DRIVER", "POWER", "PROVISION", "SERIAL", "CHASSIS"}, a.branches(list))
	return nil
}

// branches returns the rows of a tree: each node without a parent, followed by its children. A child whose parent is not in the list stands for
// itself.
func (a *app) branches(list []client.Node) [][]string {
	present := map[string]bool{}
	children := map[string][]*client.Node{}
	for i := range list {
		present[list[i].UUID] = true
		children[list[i].Parent] = append(children[list[i].Parent], &list[i])
	}
	var rows [][]string
	for i := range list {
		n := &list[i]
		switch {
		case n.Parent == "":
			rows = append(rows, a.branch(n, ""))
		case !present[n.Parent]:
			rows = append(rows, a.branch(n, fmt.Sprintf("(in %s) ", n.Parent)))
		default:
			continue
		}
		below := children[n.UUID]
		slices.SortStableFunc(below, func(x, y *client.Node) int { return compareNames(x.Label(), y.Label()) })
		for j, child := range below {
			lead := "├─ "
			if j == len(below)-1 {
				lead = "└─ "
			}
			rows = append(rows, a.branch(child, lead))
		}
	}
	return rows
}

func (a *app) branch(n *client.Node, lead string) []string {
	provision := a.state(string(n.Provision))
	if n.Maintenance {
		provision += a.paint(yellow, " (maintenance)")
	}
	return []string{
		lead + printable(n.Label(), false), printable(brief(n.Driver), false), a.state(string(n.Power)), provision,
		printable(brief(n.CardSerial()), false), printable(brief(n.Chassis()), false),
	}
}

// state returns a state in its colour.
func (a *app) state(s string) string { return a.paint(painted(s), printable(brief(s), false)) }

// compareNames orders names so that dpu-2 comes before dpu-10.
func compareNames(x, y string) int {
	for len(x) > 0 && len(y) > 0 {
		dx, dy := digits(x), digits(y)
		switch {
		case dx > 0 && dy > 0:
			if c := compareDigits(x[:dx], y[:dy]); c != 0 {
				return c
			}
			x, y = x[dx:], y[dy:]
		case x[0] != y[0]:
			return int(x[0]) - int(y[0])
		default:
			x, y = x[1:], y[1:]
		}
	}
	return len(x) - len(y)
}

func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

func compareDigits(x, y string) int {
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(x, y)
}
