package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usageError says that a command was used wrongly.
type usageError struct{ error }

// Unwrap returns the cause.
func (e *usageError) Unwrap() error { return e.error }

// Usagef returns an error that makes Execute exit with Wrong. The format follows fmt.Errorf. The text needs no name of the command.
func Usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// checkArguments makes every command below root refuse arguments that its line of usage does not have. A command with commands of its own
// takes nothing but their names.
func checkArguments(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		checkArguments(c)
	}
	own := cmd.Args
	switch {
	case cmd.HasSubCommands():
		cmd.Args = noSuchCommand
		if cmd.RunE == nil && cmd.Run == nil {
			cmd.RunE = commandMissing
		}
	case own == nil:
		cmd.Args = func(cmd *cobra.Command, args []string) error { return readUse(cmd.Use).check(args) }
	default:
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := own(cmd, args); err != nil {
				return Usagef("%w", err)
			}
			return nil
		}
	}
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return Usagef("there is no command %q; there is %s", args[0], strings.Join(near, ", "))
	}
	return Usagef("there is no command %q", args[0])
}

func commandMissing(cmd *cobra.Command, _ []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return Usagef("say what to do: %s", strings.Join(names, ", "))
}

// use is what a line of usage such as "show NODE [FIELD]..." says of the arguments.
type use struct {
	names    []string
	required int
	endless  bool
}

// readUse reads a line of usage: NAME is required, [NAME] is not, and dots say that it may be repeated.
func readUse(line string) use {
	var u use
	for _, word := range strings.Fields(line)[1:] {
		name := strings.Trim(word, "[].")
		if name == "flags" {
			continue
		}
		u.names = append(u.names, name)
		if !strings.HasPrefix(word, "[") {
			u.required++
		}
		if strings.Contains(word, "...") {
			u.endless = true
		}
	}
	return u
}

func (u use) check(args []string) error {
	switch {
	case len(args) < u.required:
		return Usagef("%s is missing", u.names[len(args)])
	case len(args) > len(u.names) && !u.endless && len(u.names) == 0:
		return Usagef("it takes no arguments, and got %q", args[0])
	case len(args) > len(u.names) && !u.endless:
		return Usagef("%q is one argument too many: it takes %s", args[len(u.names)], strings.Join(u.names, " "))
	}
	return nil
}

// group is a command that has nothing but commands.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short}
	cmd.AddCommand(commands...)
	return cmd
}

// helpCommand is "help", which refuses what is no command, as cobra's own does not.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]...", Short: "Show the help of a command", RunE: func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return noSuchCommand(root, args)
		}
		cmd.InitDefaultHelpFlag()
		return cmd.Help()
	}}
}
