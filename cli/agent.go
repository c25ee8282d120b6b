package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
)

var identities = &resource{
	name: "agent", path: agents + "/identities", key: "identities", can: canList, filters: "kind, name, state",
	columns: []column{
		{title: "KIND", path: "kind"}, {title: "NAME", path: "name"}, {title: "STATE", path: "state", paint: painted}, {title: "KEY", path: "key", show: keyBeginning},
		{title: "UNTIL (UTC)", path: "certificate_expires_at", show: moment}, {title: "REASON", path: "reason"},
	},
}

// keyBeginning is enough of a key's hash to tell it from others.
func keyBeginning(v any) string {
	const enough = 12
	text := brief(v)
	return text[:min(len(text), enough)]
}

var tokens = &resource{
	name: "token", one: "join token", path: tokensPath, key: "tokens", can: canList | canErase, filters: "kind, name",
	columns: []column{
		{title: "ID", path: "id"}, {title: "KIND", path: "kind"}, {title: "NAME", path: "name"}, {title: "UNTIL (UTC)", path: "expires_at", show: moment},
		{title: "ISSUED BY", path: "issued_by"},
	},
}

// agents returns the command "agent": who the agents are to riser.
func (a *app) agents() *cobra.Command {
	token := group("token", "Tokens with which agents join", append(a.commands(tokens), a.createToken())...)
	return group("agent", "The agents on hosts and DPUs", append(a.commands(identities), token)...)
}

func (a *app) createToken() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create KIND NAME", Short: "Make a token with which one agent may join, once",
		Long: "Make a token with which one agent may join, once. KIND is host or dpu; NAME is the host's name, or the card's serial number.\n\n" +
			"The token is shown now and never again.",
	}
	life := cmd.Flags().Duration("expires-in", time.Hour, "how `long` the token may be used")
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		switch {
		case args[0] != "host" && args[0] != "dpu":
			return Usagef("KIND %q is neither host nor dpu", args[0])
		case *life < time.Second:
			return Usagef("--expires-in %s must be 1s or more", *life)
		}
		var raw json.RawMessage
		body := object{"kind": args[0], "name": args[1], "expires_in": life.Seconds()}
		if err := c.Do(ctx, http.MethodPost, tokensPath, body, &raw); err != nil {
			return cannot("make a join token for "+args[0]+" "+args[1], err)
		}
		return a.show([]string{"token", "kind", "name", "expires_at", "id"}, raw)
	})
	return cmd
}
