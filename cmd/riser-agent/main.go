// Command riser-agent is riser's agent: on a hypervisor it tells the server which cards the host has, and on a card's own Linux it plugs
// representors as the server orders.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when riser-agent is built for a release.
var version = "devel"

// Exit codes.
const (
	done   = 0
	failed = 1
	wrong  = 2 // wrong use of the command line or the configuration
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, root())
	stop()
	os.Exit(code)
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "riser-agent",
		Short:         "The agent of riser on hypervisors and on DPU cards",
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage(errors.New("want host, dpu or version")) },
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	cmd.AddCommand(hostCommand(), dpuCommand(), versionCommand())
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "riser-agent %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// noArguments refuses arguments, as wrong use.
func noArguments(cmd *cobra.Command, args []string) error { return usage(cobra.NoArgs(cmd, args)) }

// execute carries out a command line and returns the exit code.
func execute(ctx context.Context, root *cobra.Command) int {
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return done
	}
	var misuse *usageError
	if errors.As(err, &misuse) || cmd == root {
		fmt.Fprintf(root.ErrOrStderr(), "%s: %v\nSee \"%s --help\".\n", cmd.CommandPath(), err, cmd.CommandPath())
		return wrong
	}
	fmt.Fprintf(root.ErrOrStderr(), "%s: %v\n", cmd.CommandPath(), err)
	return failed
}

// usageError is wrong use of the command line or the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}
