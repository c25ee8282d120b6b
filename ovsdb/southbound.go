package ovsdb

import (
	"fmt"
	"maps"
	"slices"
)

// Southbound is the OVN_Southbound database, of which riser only reads what the chassis are and what they did. Its rows
// are described in ovn-sb(5).
type Southbound struct{ *Conn }

// OpenSouthbound starts a supervised connection to an OVN_Southbound database; the server need not be there yet. Close
// ends it. The error is that of an endpoint that cannot be read.
func OpenSouthbound(cfg Config) (*Southbound, error) {
	c, err := open(cfg, databaseModel(dbSouthbound, southboundTables))
	if err != nil {
		return nil, err
	}
	return &Southbound{c}, nil
}

// Chassis is one ovn-controller.
type Chassis struct {
	Name       string // external_ids:system-id of its switch
	Hostname   string
	CMSOptions []string // of other_config, or of external_ids where an old OVN keeps them
}

// Chassis returns all chassis, ordered by name.
func (s *Southbound) Chassis() ([]Chassis, error) {
	var list []Chassis
	err := s.view(func(r *replica) {
		for row := range all[chassisRow](r) {
			options, ok := row.OtherConfig[keyCMSOptions]
			if !ok {
				options = row.ExternalIDs[keyCMSOptions]
			}
			list = append(list, Chassis{Name: row.Name, Hostname: row.Hostname, CMSOptions: splitOptions(options)})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list chassis: %w", err)
	}
	sortBy(list, func(c Chassis) string { return c.Name })
	return list, nil
}

// AmbiguousChassisError means that two chassis say of themselves that they are the same card.
type AmbiguousChassisError struct {
	Option string
	First  Chassis
	Second Chassis
}

// Error names both chassis.
func (e *AmbiguousChassisError) Error() string {
	return fmt.Sprintf("chassis %s (%s) and chassis %s (%s) both have ovn-cms-options %s",
		e.First.Name, e.First.Hostname, e.Second.Name, e.Second.Hostname, e.Option)
}

// ChassisByCMSOption returns the one chassis whose ovn-cms-options have an element, such as
// "card-serial-number=MT2113X00042". The error is [ErrNotFound], or an [AmbiguousChassisError] if there are two.
func (s *Southbound) ChassisByCMSOption(element string) (Chassis, error) {
	list, err := s.Chassis()
	if err != nil {
		return Chassis{}, err
	}
	list = slices.DeleteFunc(list, func(c Chassis) bool { return !slices.Contains(c.CMSOptions, element) })
	switch len(list) {
	case 0:
		return Chassis{}, fmt.Errorf("chassis with ovn-cms-options %s: %w", element, ErrNotFound)
	case 1:
		return list[0], nil
	}
	return Chassis{}, &AmbiguousChassisError{Option: element, First: list[0], Second: list[1]}
}

// PortBinding is what OVN made of a logical port.
type PortBinding struct {
	LogicalPort      string
	Chassis          string // name of the chassis that claimed it; "" for none
	RequestedChassis string // name of the chassis that shall claim it; "" for any, or if northd knows none of that name
	Up               bool
	Options          map[string]string
}

// PortBinding reads the binding of a logical port. The error is [ErrNotFound] if northd has made none.
func (s *Southbound) PortBinding(port string) (PortBinding, error) {
	var b PortBinding
	found := false
	err := s.view(func(r *replica) {
		row := byName[portBindingRow](r, port)
		if row == nil {
			return
		}
		found = true
		b = PortBinding{
			LogicalPort: port, Chassis: chassisName(r, row.Chassis), RequestedChassis: chassisName(r, row.RequestedChassis),
			Up: isTrue(row.Up), Options: maps.Clone(row.Options),
		}
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return PortBinding{}, fmt.Errorf("binding of logical port %s: %w", port, err)
	}
	return b, nil
}

func chassisName(r *replica, uuid *string) string {
	if uuid == nil {
		return ""
	}
	if row := byUUID[chassisRow](r, *uuid); row != nil {
		return row.Name
	}
	return ""
}
