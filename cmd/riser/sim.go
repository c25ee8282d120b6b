package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/cli"
	"github.com/riser-project/riser/internal/sim/bmc"
)

// fleet is what riser sim simulates.
type fleet struct {
	servers, cards int
	ipmi, off      bool
	lies           []string
	latency        time.Duration
	listen         string
	port           int
	username       string
	password       string
	sessions       int
	update         time.Duration
	json, listLies bool
}

func simCommand() *cobra.Command {
	var f fleet
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate servers with DPUs, until interrupted",
		Long: "Simulate servers and the BlueField-3 cards in their slots: controllers that speak Redfish, and IPMI if asked, in front of a model of power and boot.\n" +
			"A controller can be told to lie as real ones do. The table of addresses and serials comes first; then the simulation stays until interrupted.",
		Example: "  riser sim --servers 2 --cards 2 --ipmi\n  riser sim --lie server-0-card-1=hang --lie no-op --latency 300ms",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	set := cmd.Flags()
	set.IntVar(&f.servers, "servers", 1, "`number` of servers")
	set.IntVar(&f.cards, "cards", 2, "`number` of cards in each server")
	set.BoolVar(&f.ipmi, "ipmi", false, "controllers speak IPMI, too")
	set.BoolVar(&f.off, "off", false, "servers are off at the start")
	set.StringArrayVar(&f.lies, "lie", nil, "`[MACHINE=]NAME` of a lie that this controller tells, or every one; may be repeated")
	set.BoolVar(&f.json, "json", false, "print the machines as JSON")
	set.BoolVar(&f.listLies, "list-lies", false, "print the lies and end")
	set.DurationVar(&f.latency, "latency", 0, "mean `time` of an answer over Redfish; a few take ten times as long")
	set.StringVar(&f.listen, "listen", "127.0.0.1", "IP `address` to listen on; each controller has ports of its own")
	set.IntVar(&f.port, "port", 0, "first `port`, TCP and UDP; controllers have consecutive ones (default: those that are free)")
	set.StringVar(&f.username, "username", "root", "user `name` of the controllers")
	set.StringVar(&f.password, "password", "0penBmc", "`password` of the controllers")
	set.IntVar(&f.sessions, "sessions", 8, "`number` of Redfish sessions that a controller keeps at once")
	set.DurationVar(&f.update, "update-time", 2*time.Second, "`time` that a firmware update takes")
	return cmd
}

// simulated is a machine of the fleet, as riser sim tells it.
type simulated struct {
	Name     string `json:"name"`
	Parent   string `json:"parent,omitempty"` // of a card
	Serial   string `json:"serial"`
	UUID     string `json:"uuid"`
	Redfish  string `json:"redfish_address"`
	IPMI     string `json:"ipmi_address,omitempty"`
	IPMIPort int    `json:"ipmi_port,omitempty"`
	Username string `json:"username"`
	Password string `json:"password"`

	controller *bmc.Controller
}

// run starts the fleet, tells of it, and waits for the end of ctx.
func (f *fleet) run(ctx context.Context, out io.Writer) (err error) {
	if f.listLies {
		return listLies(out)
	}
	if f.servers < 1 || f.cards < 0 || f.sessions < 1 || f.latency < 0 {
		return cli.Usagef("--servers and --sessions must be at least 1, --cards and --latency at least 0")
	}
	if net.ParseIP(f.listen) == nil {
		return cli.Usagef("--listen %q is not an IP address", f.listen)
	}
	var machines []simulated
	for i := range f.servers {
		port := f.port
		if port != 0 {
			port += i * (1 + f.cards)
		}
		s, err := bmc.NewServer(bmc.Options{
			Number: i, Cards: f.cards, On: !f.off, IPMI: f.ipmi, Listen: f.listen, Port: port, Username: f.username, Password: f.password, Sessions: f.sessions,
			Latency: f.latency, Timing: bmc.Timing{On: time.Second, Off: time.Second, Shutdown: 2 * time.Second, Boot: 5 * time.Second, Update: f.update},
		})
		if err != nil {
			return fmt.Errorf("simulate server %d: %w", i, err)
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		machines = append(machines, f.machines(i, s)...)
	}
	if err := f.tell(machines); err != nil {
		return err
	}
	if err := f.print(out, machines); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (f *fleet) machines(number int, s *bmc.Server) []simulated {
	host := fmt.Sprintf("server-%d", number)
	list := []simulated{f.machine(host, "", s.Host)}
	for _, c := range s.Cards {
		list = append(list, f.machine(fmt.Sprintf("%s-card-%d", host, c.Slot), host, c))
	}
	return list
}

func (f *fleet) machine(name, parent string, m *bmc.Machine) simulated {
	s := simulated{
		Name: name, Parent: parent, Serial: m.Serial, UUID: m.UUID, Redfish: m.Controller.URL, Username: f.username, Password: f.password,
		controller: m.Controller,
	}
	if m.IPMI != nil {
		s.IPMI, s.IPMIPort = m.IPMI.Host, m.IPMI.Port
	}
	return s
}

// tell has each controller tell the lies that are meant for it.
func (f *fleet) tell(machines []simulated) error {
	for _, lie := range f.lies {
		name, _, _ := strings.Cut(lie, "=")
		if strings.Contains(lie, "=") && !slices.ContainsFunc(machines, func(m simulated) bool { return m.Name == name }) {
			return cli.Usagef("--lie %s: there is no machine %s; the last is %s", lie, name, machines[len(machines)-1].Name)
		}
	}
	for _, m := range machines {
		var lies []string
		for _, lie := range f.lies {
			name, what, only := strings.Cut(lie, "=")
			switch {
			case !only:
				lies = append(lies, name)
			case name == m.Name:
				lies = append(lies, what)
			}
		}
		if err := m.controller.Tell(lies...); err != nil {
			return cli.Usagef("--lie: %w; --list-lies has them", err)
		}
	}
	return nil
}

func (f *fleet) print(out io.Writer, machines []simulated) error {
	if f.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(machines) //nolint:gosec // the passwords are those of simulated machines, for whoever simulates them
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "MACHINE\tSERIAL\tREDFISH\tIPMI")
	for _, m := range machines {
		ipmi := "-"
		if m.IPMI != "" {
			ipmi = net.JoinHostPort(m.IPMI, fmt.Sprint(m.IPMIPort))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Name, m.Serial, m.Redfish, ipmi)
	}
	fmt.Fprintf(w, "\nuser %s, password %s; interrupt to end\n", f.username, f.password)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, table.String())
	return err
}

func listLies(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, l := range bmc.Lies {
		fmt.Fprintf(w, "%s\t%s\n", l.Name, l.Summary)
	}
	return w.Flush()
}
