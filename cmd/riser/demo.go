package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/riser-project/riser/demo"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play riser's two jobs on simulated machines, in seconds",
		Long: "Start a server, a simulated host with two BlueField-3 cards, and their agents in this process, on free ports of this machine and in a temporary\n" +
			"folder; enrol them, run steps on the cards, attach an instance, and say what happened. Nothing is left behind.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out, o.Color, o.Serve = cmd.OutOrStdout(), colorful(cmd.OutOrStdout()), serveDemo
			return demo.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&o.JSON, "json", false, "a line of JSON for each event")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "stay up afterwards, until interrupted, and say what can be explored")
	return cmd
}

// colorful reports whether w is a terminal that wants colours (no-color.org).
func colorful(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// serveDemo is riser serve with the demonstration's settings.
func serveDemo(ctx context.Context, s demo.Server) (url string, wait func() error, err error) {
	set := newSettings()
	set.flags(pflag.NewFlagSet("demo", pflag.ContinueOnError))
	set.listen, set.database, set.hostname = "127.0.0.1:0", s.Database, "riser-demo"
	set.backend, set.ovnNB, set.dpuCredentials = "ovn", s.Northbound, s.Credentials
	set.pace, set.bmcTimeout, set.drain = s.Pace, s.Patience, s.Patience
	server, err := newServer(ctx, set, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", nil, err
	}
	done := make(chan error, 1)
	go func() { done <- server.run(ctx) }()
	return server.url(), func() error { return <-done }, nil
}
