package dpu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/ovsdb"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/sysfs"
)

// Where a serial number was read.
const (
	fromDevlink = "devlink"
	fromVPD     = "vpd"
	fromConfig  = "config"
)

// partNumber is the version under which devlink tells the part number of a board (the kernel's devlink-info documentation).
const partNumber = "board.id"

// identifyAgain is the pause between two attempts to learn what card this is.
const identifyAgain = time.Second

// card is what the agent knows of the card that it runs on.
type card struct {
	serial, source   string
	uuid, partNumber string
	problems         []string // what contradicts the serial
}

// identify learns which card this is, and under which name Open vSwitch knows this Linux. Both make the name of a DPU on the server, so the
// agent says nothing before it has both. It returns false when ctx ends first.
func (a *agent) identify(ctx context.Context) bool {
	select {
	case <-a.kernel.tried:
	case <-ctx.Done():
		return false
	}
	changed := a.kernel.subscribe()
	defer a.kernel.unsubscribe(changed)
	rows := a.vswitch.Subscribe()
	defer rows.Close()
	again := time.NewTicker(identifyAgain)
	defer again.Stop()
	for {
		c, err := a.readCard(ctx)
		a.news.tellErr("serial number", err)
		_, vswitchErr := a.vswitch.Identity()
		a.news.tellErr("Open vSwitch", vswitchErr)
		if err == nil && vswitchErr == nil {
			a.card = c
			a.Log.Info("DPU agent: this is card "+c.serial, "serial", c.serial, "source", c.source, "part_number", c.partNumber)
			return true
		}
		select {
		case <-changed:
		case <-rows.C:
		case <-again.C:
		case <-ctx.Done():
			return false
		}
	}
}

// readCard reads the serial number: the configured one, else the board's by devlink, else the one in the card's VPD.
func (a *agent) readCard(ctx context.Context) (card, error) {
	p := a.kernel.ports()
	c, err := byDevlink(p)
	if err != nil && a.Sysfs != "" {
		found, vpdErr := byVPD(ctx, a.Sysfs, p)
		if vpdErr == nil {
			c, err = found, nil
		} else {
			err = fmt.Errorf("%w; %w", err, vpdErr)
		}
	}
	if a.Serial == "" {
		if err != nil {
			err = fmt.Errorf("the card tells no serial number: %w; configure the serial number that the host reads from the card's VPD", err)
		}
		return c, err
	}
	if err == nil && c.serial != a.Serial {
		c.problems = append(c.problems, fmt.Sprintf("the configured serial number is %s, and the card's own (%s) is %s", a.Serial, c.source, c.serial))
	}
	c.serial, c.source = a.Serial, fromConfig
	return c, nil
}

// byDevlink reads the serial number that the drivers tell of the board.
func byDevlink(p ports) (card, error) {
	if p.table == nil {
		return card{}, fmt.Errorf("devlink: %w", p.err)
	}
	var cards []card
	var errs []error
	for _, h := range ownHandles(p) {
		info, ok := p.infos[h]
		if !ok {
			continue
		}
		id := pci.Identify(info.BoardSerial, info.Serial, info.Fixed[partNumber], "", "")
		if id.Serial == "" {
			errs = append(errs, fmt.Errorf("devlink: board of %s: %s", h, id.Problem))
			continue
		}
		cards = append(cards, card{serial: id.Serial, source: fromDevlink, uuid: id.UUID, partNumber: id.PartNumber})
	}
	if len(cards) == 0 {
		return card{}, errors.Join(append(errs, errors.New("devlink: no instance tells a board's serial number"))...)
	}
	return one(cards)
}

// ownHandles returns the devlink instances of the card: those that show functions to a host, else all that have an uplink.
func ownHandles(p ports) []devlink.Handle {
	hosts, uplinks := map[devlink.Handle]bool{}, map[devlink.Handle]bool{}
	for _, port := range p.table.Ports() {
		if port.Function.External {
			hosts[port.ID.Handle] = true
		}
		if port.Flavour == devlink.FlavourPhysical {
			uplinks[port.ID.Handle] = true
		}
	}
	if len(hosts) == 0 {
		hosts = uplinks
	}
	return slices.SortedFunc(maps.Keys(hosts), func(x, y devlink.Handle) int { return strings.Compare(x.String(), y.String()) })
}

// byVPD reads the serial number from the VPD of the card's own functions.
func byVPD(ctx context.Context, root string, p ports) (card, error) {
	tree, err := sysfs.Open(root)
	if err != nil {
		return card{}, fmt.Errorf("VPD: %w", err)
	}
	host, err := tree.Scan(ctx)
	if err != nil {
		return card{}, fmt.Errorf("VPD: %w", err)
	}
	own := map[string]bool{}
	if p.table != nil {
		for _, h := range ownHandles(p) {
			own[h.Device] = true
		}
	}
	var all, mine []card
	var problems []string
	for _, c := range host.Cards {
		if c.Serial == "" {
			problems = append(problems, c.Problem)
			continue
		}
		found := card{serial: c.Serial, source: fromVPD, uuid: c.UUID, partNumber: c.PartNumber}
		all = append(all, found)
		if slices.ContainsFunc(c.PFs, func(pf pci.Address) bool { return own[pf.String()] }) {
			mine = append(mine, found)
		}
	}
	if len(mine) == 0 {
		mine = all
	}
	if len(mine) == 0 {
		return card{}, fmt.Errorf("VPD: no function below %s tells a serial number: %s", root, strings.Join(problems, "; "))
	}
	return one(mine)
}

// one returns the card that all agree on.
func one(cards []card) (card, error) {
	for _, c := range cards[1:] {
		if c.serial != cards[0].serial {
			return card{}, fmt.Errorf("%s: two cards are seen here, %s and %s, and which one this Linux runs on is not known", c.source, cards[0].serial, c.serial)
		}
	}
	return cards[0], nil
}

// chassis returns the names under which OVN knows this Linux.
func (a *agent) chassis(id ovsdb.Identity) string {
	if a.Chassis != "" {
		return a.Chassis
	}
	if id.Hostname != "" {
		return id.Hostname
	}
	name, err := os.Hostname()
	if err != nil {
		return a.card.serial
	}
	return name
}
