// Command riser is the control plane for servers and the DPUs inside them: the service, its command line and its demonstration.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when riser is built for a release.
var version = "devel"

func main() { os.Exit(run(os.Args[1:])) }

// run carries out one command line. Exit codes: 0 done, 1 failed, 2 wrong use.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use: "riser", Short: "The control plane for servers and the DPUs inside them", SilenceErrors: true, SilenceUsage: true, Version: version,
	}
	root.SetArgs(args)
	root.AddCommand(serveCommand())
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "riser:", err)
	var wrong *usageError
	if errors.As(err, &wrong) {
		return 2
	}
	return 1
}
