package cli_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/riser-project/riser/cli"
	"github.com/riser-project/riser/pci/vpd"
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

// noLinger keeps programs under the race detector from waiting a second before they exit.
const noLinger = "atexit_sleep_ms=0"

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
			e.Setenv("GORACE", noLinger)
			e.Values["fleet"] = f
			return writeVPDs(e.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code,
			"asked": func(ts *testscript.TestScript, _ bool, _ []string) {
				fmt.Fprint(ts.Stdout(), ts.Value("fleet").(*fleet).asked())
			},
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
	})
}

// code is the command "code" of the scripts.
func code(ts *testscript.TestScript, _ bool, args []string) {
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
}

// writeVPDs writes what a script cannot hold: VPDs of cards, right and wrong.
func writeVPDs(dir string) error {
	cards := map[string]*vpd.VPD{
		"card.bin": {Name: "BlueField-2 DPU", Fields: []vpd.Field{
			{Keyword: vpd.PartNumber, Text: true, Value: "MBF2H332A-AEEOT"}, {Keyword: vpd.SerialNumber, Text: true, Value: "MT2113X00042"},
			{Keyword: vpd.Keyword{'V', '3'}, Text: true, Value: "3c53d07eec484d8aab34dabd24fe575a"},
			{Section: vpd.ReadWrite, Keyword: vpd.AssetTag, Text: true, Value: "rack\x1b7"}, {Section: vpd.ReadWrite, Keyword: vpd.Keyword{'Y', '0'}, Text: true, Value: "x"},
		}},
		"placeholder.bin": {Name: "NIC", Fields: []vpd.Field{
			{Keyword: vpd.SerialNumber, Text: true, Value: "N/A"}, {Keyword: vpd.EngineeringChange, Text: true, Value: "A1"},
			{Keyword: vpd.ManufactureID, Text: true, Value: "1"}, {Keyword: vpd.Capability, Value: "\x01\x02"}, {Keyword: vpd.Keyword{'F', 'G'}, Value: "z"},
		}},
	}
	for name, card := range cards {
		b, err := vpd.Append(nil, card)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "card.bin"))
	if err != nil {
		return err
	}
	b[bytes.IndexByte(b, 'M')]++
	return os.WriteFile(filepath.Join(dir, "changed.bin"), b, 0o600)
}
