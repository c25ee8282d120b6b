// Package cli is riser's command line: a client of riser's APIs, and of any Ironic for what Ironic has.
//
// Its exit codes are for scripts to stand on: 0 means done, 1 that it was asked rightly and failed, 2 that it was asked wrongly (an unknown
// command or flag, arguments too many or too few). What was asked for goes to the standard output; what went wrong, to the standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Options is what the command line stands on.
type Options struct {
	Version string   // of this program
	History []Change // microversions of the bare-metal API, oldest first, for "api versions"

	In     io.Reader           // nil means the standard input
	Out    io.Writer           // nil means the standard output
	Err    io.Writer           // nil means the standard error
	Getenv func(string) string // nil means os.Getenv
	HTTP   *http.Client        // for requests; nil means the client's default
}

// Change is a minor API version and a sentence on what it brought.
type Change struct {
	Minor int
	Text  string
}

// Exit codes.
const (
	Done   = 0
	Failed = 1
	Wrong  = 2 // wrong use
)

// app is one run of the program: its options, and the flags that all commands share.
type app struct {
	o     Options
	flags globals
}

// New returns the root command with every command that is a client of a server, or needs none. The caller adds its own to it; they do not take
// the flags for clients.
func New(o Options) *cobra.Command {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	a := &app{o: o}
	root := &cobra.Command{
		Use:   "riser",
		Short: "The control plane for servers and the DPUs inside them",
		Long: "riser is the control plane for servers and the DPUs inside them.\n\n" +
			"It runs the service (riser serve), and is the service's command line: all other commands call the API at --url.",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(o.In)
	root.SetOut(o.Out)
	root.SetErr(o.Err)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return Usagef("%w", err) })
	root.SetHelpCommand(helpCommand(root))
	a.flags.register(root.PersistentFlags())
	root.AddCommand(a.nodes()...)
	root.AddCommand(a.attachment()...)
	root.AddCommand(a.catalog()...)
	root.AddCommand(a.local(root)...)
	a.keepFlags(root)
	return root
}

// ours marks the commands of this package, which take the flags for clients.
const ours = "riser:client"

// foreign reports whether cmd is one that the program has added to those of this package.
func foreign(cmd *cobra.Command) bool {
	for cmd.HasParent() && cmd.Parent().HasParent() {
		cmd = cmd.Parent()
	}
	_, known := cmd.Annotations[ours]
	return cmd.HasParent() && !known && cmd.Name() != "help" && !strings.HasPrefix(cmd.Name(), cobra.ShellCompRequestCmd)
}

// keepFlags checks the flags for clients before a command runs, and keeps them from the commands that are added to root after this.
func (a *app) keepFlags(root *cobra.Command) {
	for _, c := range root.Commands() {
		c.Annotations = map[string]string{ours: ""}
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if !foreign(cmd) {
			_, err := a.format()
			return err
		}
		var err error
		cmd.InheritedFlags().VisitAll(func(f flag) {
			if f.Changed {
				err = Usagef("--%s is for commands that call a server, not for %s", f.Name, cmd.CommandPath())
			}
		})
		return err
	}
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if foreign(cmd) {
			root.PersistentFlags().VisitAll(func(f flag) { f.Hidden = true })
		}
		help(cmd, args)
	})
}

// Execute runs the command that the arguments of root name (os.Args unless root.SetArgs says otherwise), tells on its standard error what went
// wrong, and returns the program's exit code.
func Execute(ctx context.Context, root *cobra.Command) int {
	checkArguments(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return Done
	}
	stderr := root.ErrOrStderr()
	var wrong *usageError
	if errors.As(err, &wrong) {
		fmt.Fprintf(stderr, "%s: %s\nSee %s --help.\n", cmd.CommandPath(), printable(wrong.Error(), true), cmd.CommandPath())
		return Wrong
	}
	for line := range strings.SplitSeq(printable(err.Error(), true), "\n") {
		fmt.Fprintf(stderr, "%s: %s\n", root.Name(), line)
	}
	if text := hint(cmd, err); text != "" && !foreign(cmd) {
		fmt.Fprintln(stderr, text)
	}
	return Failed
}
