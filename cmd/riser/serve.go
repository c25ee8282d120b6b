package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/cli"
	"github.com/riser-project/riser/config"
)

// variables is the prefix of settings in the environment.
const variables = "RISER_"

func serveCommand() *cobra.Command {
	set := newSettings()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the APIs and conduct machines",
		Long: "Serve the bare-metal API (/v1), the agents' API and the conductor in one process on an SQLite file, or as one of many on PostgreSQL.\n\n" +
			"Every flag is also a key of the file named by --config, and a variable: --listen is RISER_LISTEN.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Load(cmd.LocalNonPersistentFlags(), variables, set.file(os.Getenv), os.Environ(), "config", "help"); err != nil {
				return cli.Usagef("%w", err)
			}
			if err := set.check(); err != nil {
				return cli.Usagef("%w", err)
			}
			s, err := newServer(cmd.Context(), set, logger(cmd.ErrOrStderr(), set))
			if err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	set.flags(cmd.Flags())
	return cmd
}

// file is the configuration file: the flag, else the variable.
func (s *settings) file(getenv func(string) string) string {
	if s.config != "" {
		return s.config
	}
	return getenv(config.Variable(variables, "config"))
}

func logger(w io.Writer, set *settings) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(set.logLevel)); err != nil {
		level = slog.LevelInfo // check has refused every other word
	}
	opts := &slog.HandlerOptions{Level: level}
	if set.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
