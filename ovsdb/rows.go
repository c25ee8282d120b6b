package ovsdb

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/ovn-kubernetes/libovsdb/model"
)

// The rows hold the columns that riser reads. A field's tag is the column's name; a pointer is a column that may be
// empty. Columns are described in ovs-vswitchd.conf.db(5), ovn-nb(5) and ovn-sb(5).

// Database Open_vSwitch.
type (
	openVSwitchRow struct {
		UUID        string            `ovsdb:"_uuid"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
		OVSVersion  *string           `ovsdb:"ovs_version"`
	}
	bridgeRow struct {
		UUID  string   `ovsdb:"_uuid"`
		Name  string   `ovsdb:"name"`
		Ports []string `ovsdb:"ports"`
	}
	portRow struct {
		UUID       string   `ovsdb:"_uuid"`
		Name       string   `ovsdb:"name"`
		Interfaces []string `ovsdb:"interfaces"`
	}
	interfaceRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
		MTURequest  *int              `ovsdb:"mtu_request"`
		OFPort      *int              `ovsdb:"ofport"`
		Error       *string           `ovsdb:"error"`
		LinkState   *string           `ovsdb:"link_state"`
	}
)

// Database OVN_Northbound.
type (
	nbGlobalRow struct {
		UUID    string            `ovsdb:"_uuid"`
		Name    string            `ovsdb:"name"`
		NBCfg   int               `ovsdb:"nb_cfg"`
		SBCfg   int               `ovsdb:"sb_cfg"`
		HVCfg   int               `ovsdb:"hv_cfg"`
		Options map[string]string `ovsdb:"options"`
	}
	logicalSwitchRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Ports       []string          `ovsdb:"ports"`
		OtherConfig map[string]string `ovsdb:"other_config"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	logicalSwitchPortRow struct {
		UUID          string            `ovsdb:"_uuid"`
		Name          string            `ovsdb:"name"`
		Type          string            `ovsdb:"type"`
		Addresses     []string          `ovsdb:"addresses"`
		PortSecurity  []string          `ovsdb:"port_security"`
		Options       map[string]string `ovsdb:"options"`
		Up            *bool             `ovsdb:"up"`
		Enabled       *bool             `ovsdb:"enabled"`
		DHCPv4Options *string           `ovsdb:"dhcpv4_options"`
		DHCPv6Options *string           `ovsdb:"dhcpv6_options"`
		ExternalIDs   map[string]string `ovsdb:"external_ids"`
	}
	dhcpOptionsRow struct {
		UUID        string            `ovsdb:"_uuid"`
		CIDR        string            `ovsdb:"cidr"`
		Options     map[string]string `ovsdb:"options"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	aclRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Direction   string            `ovsdb:"direction"`
		Priority    int               `ovsdb:"priority"`
		Match       string            `ovsdb:"match"`
		Action      string            `ovsdb:"action"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	portGroupRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Ports       []string          `ovsdb:"ports"`
		ACLs        []string          `ovsdb:"acls"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	addressSetRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Addresses   []string          `ovsdb:"addresses"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
)

// Database OVN_Southbound.
type (
	chassisRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Hostname    string            `ovsdb:"hostname"`
		OtherConfig map[string]string `ovsdb:"other_config"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	portBindingRow struct {
		UUID             string            `ovsdb:"_uuid"`
		LogicalPort      string            `ovsdb:"logical_port"`
		Chassis          *string           `ovsdb:"chassis"`
		RequestedChassis *string           `ovsdb:"requested_chassis"`
		Up               *bool             `ovsdb:"up"`
		Options          map[string]string `ovsdb:"options"`
	}
)

func (r *bridgeRow) rowName() string            { return r.Name }
func (r *portRow) rowName() string              { return r.Name }
func (r *interfaceRow) rowName() string         { return r.Name }
func (r *logicalSwitchRow) rowName() string     { return r.Name }
func (r *logicalSwitchPortRow) rowName() string { return r.Name }
func (r *portGroupRow) rowName() string         { return r.Name }
func (r *addressSetRow) rowName() string        { return r.Name }
func (r *chassisRow) rowName() string           { return r.Name }
func (r *portBindingRow) rowName() string       { return r.LogicalPort }

// The rows that are large or change often are copied directly, as libovsdb's model.CloneableModel; it takes the way
// through JSON for all others.

func (r *bridgeRow) CloneModel() model.Model            { return clone(r) }
func (r *interfaceRow) CloneModel() model.Model         { return clone(r) }
func (r *logicalSwitchRow) CloneModel() model.Model     { return clone(r) }
func (r *logicalSwitchPortRow) CloneModel() model.Model { return clone(r) }
func (r *portGroupRow) CloneModel() model.Model         { return clone(r) }
func (r *addressSetRow) CloneModel() model.Model        { return clone(r) }

func (r *bridgeRow) CloneModelInto(m model.Model)            { cloneInto(r, m) }
func (r *interfaceRow) CloneModelInto(m model.Model)         { cloneInto(r, m) }
func (r *logicalSwitchRow) CloneModelInto(m model.Model)     { cloneInto(r, m) }
func (r *logicalSwitchPortRow) CloneModelInto(m model.Model) { cloneInto(r, m) }
func (r *portGroupRow) CloneModelInto(m model.Model)         { cloneInto(r, m) }
func (r *addressSetRow) CloneModelInto(m model.Model)        { cloneInto(r, m) }

// Names of the databases and of their tables.
const (
	dbSwitch     = "Open_vSwitch"
	dbNorthbound = "OVN_Northbound"
	dbSouthbound = "OVN_Southbound"

	tableOpenVSwitch       = "Open_vSwitch"
	tableBridge            = "Bridge"
	tablePort              = "Port"
	tableInterface         = "Interface"
	tableNBGlobal          = "NB_Global"
	tableLogicalSwitch     = "Logical_Switch"
	tableLogicalSwitchPort = "Logical_Switch_Port"
	tableDHCPOptions       = "DHCP_Options"
	tableACL               = "ACL"
	tablePortGroup         = "Port_Group"
	tableAddressSet        = "Address_Set"
	tableChassis           = "Chassis"
	tablePortBinding       = "Port_Binding"
)

var (
	switchTables = map[string]model.Model{
		tableOpenVSwitch: &openVSwitchRow{}, tableBridge: &bridgeRow{}, tablePort: &portRow{}, tableInterface: &interfaceRow{},
	}
	northboundTables = map[string]model.Model{
		tableNBGlobal: &nbGlobalRow{}, tableLogicalSwitch: &logicalSwitchRow{}, tableLogicalSwitchPort: &logicalSwitchPortRow{},
		tableDHCPOptions: &dhcpOptionsRow{}, tableACL: &aclRow{}, tablePortGroup: &portGroupRow{}, tableAddressSet: &addressSetRow{},
	}
	southboundTables = map[string]model.Model{tableChassis: &chassisRow{}, tablePortBinding: &portBindingRow{}}

	tableNames = tableNamesOf(switchTables, northboundTables, southboundTables)
)

// isTrue reads an optional boolean column, whose absence means false.
func isTrue(b *bool) bool { return b != nil && *b }

func tableNamesOf(databases ...map[string]model.Model) map[reflect.Type]string {
	out := map[reflect.Type]string{}
	for _, tables := range databases {
		for name, row := range tables {
			out[reflect.TypeOf(row).Elem()] = name
		}
	}
	return out
}

func databaseModel(name string, tables map[string]model.Model) model.ClientDBModel {
	m, err := model.NewClientDBModel(name, maps.Clone(tables))
	if err != nil {
		panic(fmt.Sprintf("rows of database %s: %v", name, err)) // the rows above are wrong
	}
	return m
}
