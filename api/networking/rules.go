package networking

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

var ruleAttributes = set("security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix",
	"remote_group_id", "remote_address_group_id", "description", "tenant_id", "project_id")

// protocols are the names of protocols besides numbers (IANA's protocol numbers).
var protocols = map[string]bool{
	"ah": true, "dccp": true, "egp": true, "esp": true, "gre": true, "icmp": true, "icmpv6": true, "igmp": true, "ipip": true, "ipv6-encap": true,
	"ipv6-frag": true, "ipv6-icmp": true, "ipv6-nonxt": true, "ipv6-opts": true, "ipv6-route": true, "ospf": true, "pgm": true, "rsvp": true, "sctp": true,
	"tcp": true, "udp": true, "udplite": true, "vrrp": true,
}

// ported are the protocols whose rules may name ports, by name and number.
var ported = []string{"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "132", "33", "136"}

// pinged are those whose rules may name a type and a code.
var pinged = []string{"icmp", "icmpv6", "ipv6-icmp", "1", "58"}

func ruleView(r *store.SecurityRule, project string) map[string]any {
	return map[string]any{
		"id": r.ID, "security_group_id": r.Group, "direction": r.Direction, "ethertype": r.EtherType, "protocol": orNull(r.Protocol),
		"port_range_min": pointed(r.PortMin), "port_range_max": pointed(r.PortMax), "remote_ip_prefix": orNull(r.RemotePrefix),
		"remote_group_id": orNull(r.RemoteGroup), "remote_address_group_id": nil, "normalized_cidr": orNull(r.RemotePrefix), "description": r.Description,
		"tenant_id": project, "project_id": project, "created_at": stamp(r.CreatedAt), "updated_at": stamp(r.CreatedAt), "revision_number": 0, "tags": []any{},
		"belongs_to_default_sg": nil,
	}
}

func pointed(n *int) any {
	if n == nil {
		return nil
	}
	return *n
}

// readRules reads the rules of the groups that the subject may see.
func (a *api) readRules(r *rest.Request, tx *store.Tx, id string) ([]map[string]any, []*store.SecurityRule, error) {
	q := store.SecurityGroupQuery{}
	if p := scope(r); p != "" {
		q.Project = &p
	}
	groups, err := tx.SecurityGroups(r.Context(), q)
	if err != nil {
		return nil, nil, err
	}
	projects, ids := map[string]string{}, make([]string, len(groups))
	for i, g := range groups {
		ids[i], projects[g.ID] = g.ID, g.Project
	}
	rules, err := tx.SecurityRules(r.Context(), store.SecurityRuleQuery{UUID: id, Groups: ids})
	views := make([]map[string]any, len(rules))
	for i, rule := range rules {
		views[i] = ruleView(rule, projects[rule.Group])
	}
	if err == nil && id != "" && len(rules) == 0 {
		err = typed{"SecurityGroupRuleNotFound", fault.New(fault.NotFound, "Security group rule %s does not exist", id)}
	}
	return views, rules, err
}

func (a *api) listRules(r *rest.Request) (*rest.Response, error) {
	var views []map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) (err error) {
		views, _, err = a.readRules(r, tx, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerList(r, "security_group_rules", views)
}

func (a *api) showRule(r *rest.Request) (*rest.Response, error) {
	var views []map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) (err error) {
		views, _, err = a.readRules(r, tx, r.PathValue("id"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerOne(r, "security_group_rule", views[0]), nil
}

func (a *api) deleteRule(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		_, rules, err := a.readRules(r, tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		return tx.DeleteSecurityRule(r.Context(), rules[0])
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

func (a *api) createRule(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "security_group_rule", ruleAttributes)
	if err != nil {
		return nil, err
	}
	rule, err := readRule(attributes)
	if err != nil {
		return nil, err
	}
	project := ""
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		g, err := a.group(r, tx, rule.Group)
		if err != nil {
			return err
		}
		project = g.Project
		if rule.RemoteGroup != "" {
			if _, err := a.group(r, tx, rule.RemoteGroup); err != nil {
				return err
			}
		}
		for _, have := range g.Rules {
			if sameRule(have, rule.Rule) {
				return typed{"SecurityGroupRuleExists", fault.New(fault.Conflict, "Security group rule already exists. Rule id is %s.", have.ID)}
			}
		}
		return tx.InsertSecurityRule(r.Context(), rule)
	})
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusCreated, Body: object("security_group_rule", ruleView(rule, project))}, nil
}

func sameRule(a, b network.Rule) bool {
	return a.Direction == b.Direction && a.EtherType == b.EtherType && a.Protocol == b.Protocol && a.RemotePrefix == b.RemotePrefix &&
		a.RemoteGroup == b.RemoteGroup && pointed(a.PortMin) == pointed(b.PortMin) && pointed(a.PortMax) == pointed(b.PortMax)
}

// readRule reads the rule of a body.
func readRule(attributes map[string]json.RawMessage) (*store.SecurityRule, error) {
	r := &store.SecurityRule{Rule: network.Rule{ID: uuid.NewString(), EtherType: network.IPv4}}
	var addressGroup *string
	for name, dest := range map[string]any{
		"security_group_id": &r.Group, "direction": &r.Direction, "ethertype": &r.EtherType, "port_range_min": &r.PortMin, "port_range_max": &r.PortMax,
		"remote_ip_prefix": &r.RemotePrefix, "remote_group_id": &r.RemoteGroup, "description": &r.Description, "remote_address_group_id": &addressGroup,
	} {
		if _, err := get(attributes, name, dest); err != nil {
			return nil, err
		}
	}
	var err error
	if r.Protocol, err = readProtocol(attributes["protocol"]); err != nil {
		return nil, err
	}
	switch {
	case r.Group == "":
		return nil, typed{"HTTPBadRequest", fault.New(fault.Invalid, "Failed to parse request. Required attribute 'security_group_id' not specified")}
	case r.Direction != network.Ingress && r.Direction != network.Egress:
		return nil, invalid("direction: '%s' is not in ingress, egress", r.Direction)
	case addressGroup != nil:
		return nil, invalid("remote_address_group_id: there are no address groups")
	case r.RemoteGroup != "" && r.RemotePrefix != "":
		return nil, typed{"SecurityGroupRemoteGroupAndRemoteIpPrefix", fault.New(fault.Invalid, "Only remote_ip_prefix or remote_group_id may be provided.")}
	}
	if r.EtherType, err = readEtherType(r.EtherType); err != nil {
		return nil, err
	}
	if err := checkPorts(&r.Rule); err != nil {
		return nil, err
	}
	return r, checkPrefix(&r.Rule)
}

// readProtocol reads a protocol, which may be a name or a number, in text or not.
func readProtocol(raw json.RawMessage) (string, error) {
	if raw == nil || string(raw) == "null" {
		return "", nil
	}
	text := strings.ToLower(strings.Trim(string(raw), `"`))
	if text == "any" || text == "" {
		return "", nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 255 {
		return strconv.Itoa(n), nil
	}
	if !protocols[text] {
		return "", typed{"SecurityGroupRuleInvalidProtocol", fault.New(fault.Invalid,
			"Security group rule protocol %s not supported. Only protocol values and integer representations [0 to 255] are supported.", text)}
	}
	return text, nil
}

func readEtherType(text string) (string, error) {
	for _, e := range []string{network.IPv4, network.IPv6} {
		if strings.EqualFold(text, e) {
			return e, nil
		}
	}
	return "", typed{"SecurityGroupRuleInvalidEtherType", fault.New(fault.Invalid, "Security group rule for ethertype '%s' not supported. Allowed values are ['IPv4', 'IPv6'].", text)}
}

// checkPorts checks the ports of a rule, or the type and code of ICMP.
func checkPorts(r *network.Rule) error {
	if r.PortMin == nil && r.PortMax == nil {
		return nil
	}
	low, high := r.PortMin, r.PortMax
	switch {
	case r.Protocol == "":
		return typed{"SecurityGroupProtocolRequiredWithPorts", fault.New(fault.Invalid, "Must also specify protocol if port range is given.")}
	case slices.Contains(pinged, r.Protocol):
		if low == nil {
			return typed{"SecurityGroupMissingIcmpType", fault.New(fault.Invalid, "ICMP code (port-range-max) %d is provided but ICMP type (port-range-min) is missing.", *high)}
		}
		if *low < 0 || *low > 255 || high != nil && (*high < 0 || *high > 255) {
			return typed{"SecurityGroupInvalidIcmpValue", fault.New(fault.Invalid, "Invalid value for ICMP type or code. It must be 0 to 255.")}
		}
		return nil
	case !slices.Contains(ported, r.Protocol):
		return typed{"SecurityGroupInvalidProtocolForPort", fault.New(fault.Invalid, "Invalid protocol %s for port range, only supported for TCP, UDP, UDPLITE, SCTP and DCCP.", r.Protocol)}
	case low == nil || high == nil || *low > *high || *low < 1 || *high > 65535:
		return typed{"SecurityGroupInvalidPortRange", fault.New(fault.Invalid, "For TCP/UDP protocols, port_range_min must be <= port_range_max, both from 1 to 65535.")}
	}
	return nil
}

// checkPrefix brings the far end's addresses of a rule into their usual form.
func checkPrefix(r *network.Rule) error {
	if r.RemotePrefix == "" {
		return nil
	}
	p, err := netip.ParsePrefix(r.RemotePrefix)
	if err != nil {
		a, addrErr := netip.ParseAddr(r.RemotePrefix)
		if addrErr != nil || a.Zone() != "" {
			return invalid("remote_ip_prefix: '%s' is not a valid IP subnet", r.RemotePrefix)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4() != (r.EtherType == network.IPv4) {
		return typed{"SecurityGroupRuleParameterConflict", fault.New(fault.Invalid, "Conflicting value ethertype %s for CIDR %s", r.EtherType, r.RemotePrefix)}
	}
	r.RemotePrefix = p.Masked().String()
	return nil
}
