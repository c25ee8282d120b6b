// Command riser is the control plane for servers and the DPUs inside them: the service, its command line and its demonstration.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/cli"
)

// version is set when riser is built for a release.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Execute(ctx, root())
	stop()
	os.Exit(code)
}

// root is the whole command line: the clients of package cli, and what runs a service.
func root() *cobra.Command {
	var history []cli.Change
	for _, c := range baremetal.History() {
		history = append(history, cli.Change{Minor: c.Minor, Text: c.Text})
	}
	cmd := cli.New(cli.Options{Version: version, History: history})
	cmd.AddCommand(serveCommand(), demoCommand(), simCommand())
	return cmd
}
