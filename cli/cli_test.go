package cli_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/riser-project/riser/cli"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts of testdata")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"riser": riser})
}

// riser is the program as the scripts run it: with a command of its own besides those of cli, as cmd/riser has.
func riser() {
	root := cli.New(cli.Options{
		Version: "0.1.0",
		History: []cli.Change{{Minor: 1, Text: "The base: nodes, ports, chassis and drivers."}, {Minor: 2, Text: "A node that may be deployed is in state available."}},
	})
	serve := &cobra.Command{Use: "serve", Short: "Run the service", RunE: func(cmd *cobra.Command, _ []string) error {
		if fail, err := cmd.Flags().GetBool("fail"); err != nil || fail {
			return errors.New("cannot listen on 127.0.0.1:6385: address already in use")
		}
		fmt.Fprintln(cmd.OutOrStdout(), "served")
		return nil
	}}
	serve.Flags().Bool("json", false, "its own")
	serve.Flags().Bool("fail", false, "fail")
	root.AddCommand(serve)
	os.Exit(cli.Execute(context.Background(), root))
}

// TestScripts runs the scripts of testdata, each with a server of its own. Besides the commands of testscript they have:
//
//	code N riser ARGUMENTS   run riser, which must exit with code N
//	asked                    print the requests since the last time that changed something, or asked to
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			f := newFleet()
			s := httptest.NewServer(f)
			e.Defer(s.Close)
			e.Setenv("RISER_URL", s.URL)
			e.Setenv("TERM", "xterm")
			e.Values["fleet"] = f
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				got := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = exit.ExitCode()
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			"asked": func(ts *testscript.TestScript, _ bool, _ []string) {
				fmt.Fprint(ts.Stdout(), ts.Value("fleet").(*fleet).asked())
			},
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
	})
}
