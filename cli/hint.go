package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/fault"
)

// hint returns what the user may do about err, or "" when nothing is known that the error does not say.
func hint(cmd *cobra.Command, err error) string {
	var refused *client.Error
	answered := errors.As(err, &refused)
	switch kind := fault.KindOf(err); {
	case kind == fault.Unavailable && !answered:
		return "Start the service by \"riser serve\", or name where it listens by --url or RISER_URL."
	case kind == fault.Unauthorized:
		return "Say who you are by --token, or by --user and --password-file."
	case kind == fault.Locked || kind == fault.Unavailable:
		return "Try again later, or let --retry 1m do so."
	case kind == fault.NotAcceptable:
		return "The server's API is older than this command: \"riser api versions\" says what came when."
	case kind == fault.NotFound:
		return whereToLook(cmd)
	}
	return ""
}

// whereToLook names the command that lists what the failed one did not find.
func whereToLook(cmd *cobra.Command) string {
	for c := cmd.Parent(); c != nil && c.HasParent(); c = c.Parent() {
		for _, s := range c.Commands() {
			if s.Name() == "list" && s != cmd {
				return fmt.Sprintf("%q shows what there is.", s.CommandPath())
			}
		}
	}
	return ""
}
