package node

// State is a provision state as the API spells it.
type State string

// The provision states (Ironic API; "available" was null before microversion 1.2).
const (
	Enroll         State = "enroll"
	Verifying      State = "verifying"
	Manageable     State = "manageable"
	Available      State = "available"
	Deploying      State = "deploying"
	DeployWait     State = "wait call-back"
	DeployHold     State = "deploy hold"
	DeployFail     State = "deploy failed"
	Active         State = "active"
	Deleting       State = "deleting"
	Error          State = "error"
	Cleaning       State = "cleaning"
	CleanWait      State = "clean wait"
	CleanHold      State = "clean hold"
	CleanFail      State = "clean failed"
	Inspecting     State = "inspecting"
	InspectWait    State = "inspect wait"
	InspectFail    State = "inspect failed"
	Adopting       State = "adopting"
	AdoptFail      State = "adopt failed"
	Rescuing       State = "rescuing"
	RescueWait     State = "rescue wait"
	RescueState    State = "rescue"
	RescueFail     State = "rescue failed"
	Unrescuing     State = "unrescuing"
	UnrescueFail   State = "unrescue failed"
	Servicing      State = "servicing"
	ServiceWait    State = "service wait"
	ServiceHold    State = "service hold"
	ServiceFail    State = "service failed"
	deletedTarget  State = "deleted"
	undeployTarget State = "undeploy"
)

// Event moves a node from one provision state to another.
type Event string

// Events. The first group are also verbs that a client may ask for.
const (
	EvDeploy   Event = "deploy"
	EvDelete   Event = "delete"
	EvRebuild  Event = "rebuild"
	EvManage   Event = "manage"
	EvProvide  Event = "provide"
	EvInspect  Event = "inspect"
	EvAbort    Event = "abort"
	EvClean    Event = "clean"
	EvAdopt    Event = "adopt"
	EvRescue   Event = "rescue"
	EvUnrescue Event = "unrescue"
	EvUnhold   Event = "unhold"
	EvService  Event = "service"

	EvDone   Event = "done"
	EvFail   Event = "fail"
	EvWait   Event = "wait"
	EvHold   Event = "hold"
	EvResume Event = "resume"
)

// Verb is a target of PUT /v1/nodes/{node}/states/provision.
type Verb struct {
	Target string // as the client writes it
	Event  Event
	Since  int // first minor microversion that accepts it
}

// Verbs lists every target a client may name, in the order of the API reference.
var Verbs = [...]Verb{
	{"active", EvDeploy, 1},
	{"deploy", EvDeploy, 73},
	{"deleted", EvDelete, 1},
	{"undeploy", EvDelete, 72},
	{"rebuild", EvRebuild, 1},
	{"manage", EvManage, 4},
	{"provide", EvProvide, 4},
	{"inspect", EvInspect, 6},
	{"abort", EvAbort, 13},
	{"clean", EvClean, 15},
	{"adopt", EvAdopt, 17},
	{"rescue", EvRescue, 38},
	{"unrescue", EvUnrescue, 38},
	{"unhold", EvUnhold, 85},
	{"service", EvService, 87},
}

// VerbOf returns the verb that a client names target, and whether there is one.
func VerbOf(target string) (Verb, bool) {
	for _, v := range Verbs {
		if v.Target == target {
			return v, true
		}
	}
	return Verb{}, false
}

// Transition is one row of the state table.
type Transition struct {
	From State
	On   Event
	To   State
}

// Transitions is the state table of the API, whole.
var Transitions = [...]Transition{
	{Enroll, EvManage, Verifying},
	{Verifying, EvDone, Manageable},
	{Verifying, EvFail, Enroll},
	{Manageable, EvProvide, Cleaning},
	{Manageable, EvClean, Cleaning},
	{Manageable, EvInspect, Inspecting},
	{Manageable, EvAdopt, Adopting},
	{Available, EvDeploy, Deploying},
	{Available, EvManage, Manageable},

	{Deploying, EvDone, Active},
	{Deploying, EvWait, DeployWait},
	{Deploying, EvHold, DeployHold},
	{Deploying, EvFail, DeployFail},
	{DeployWait, EvResume, Deploying},
	{DeployWait, EvHold, DeployHold},
	{DeployWait, EvFail, DeployFail},
	{DeployWait, EvAbort, DeployFail},
	{DeployWait, EvDelete, Deleting},
	{DeployHold, EvUnhold, DeployWait},
	{DeployHold, EvAbort, DeployFail},
	{DeployFail, EvRebuild, Deploying},
	{DeployFail, EvDeploy, Deploying},
	{DeployFail, EvDelete, Deleting},

	{Active, EvRebuild, Deploying},
	{Active, EvDelete, Deleting},
	{Active, EvRescue, Rescuing},
	{Active, EvService, Servicing},
	{Deleting, EvClean, Cleaning},
	{Deleting, EvFail, Error},
	{Error, EvRebuild, Deploying},
	{Error, EvDelete, Deleting},

	{Cleaning, EvDone, Available},
	{Cleaning, EvManage, Manageable},
	{Cleaning, EvWait, CleanWait},
	{Cleaning, EvHold, CleanHold},
	{Cleaning, EvFail, CleanFail},
	{CleanWait, EvResume, Cleaning},
	{CleanWait, EvHold, CleanHold},
	{CleanWait, EvFail, CleanFail},
	{CleanWait, EvAbort, CleanFail},
	{CleanHold, EvUnhold, CleanWait},
	{CleanHold, EvAbort, CleanFail},
	{CleanFail, EvManage, Manageable},

	{Inspecting, EvDone, Manageable},
	{Inspecting, EvWait, InspectWait},
	{Inspecting, EvFail, InspectFail},
	{InspectWait, EvDone, Manageable},
	{InspectWait, EvResume, Inspecting},
	{InspectWait, EvFail, InspectFail},
	{InspectWait, EvAbort, InspectFail},
	{InspectFail, EvManage, Manageable},
	{InspectFail, EvInspect, Inspecting},

	{Adopting, EvDone, Active},
	{Adopting, EvFail, AdoptFail},
	{AdoptFail, EvAdopt, Adopting},
	{AdoptFail, EvManage, Manageable},

	{Rescuing, EvDone, RescueState},
	{Rescuing, EvWait, RescueWait},
	{Rescuing, EvFail, RescueFail},
	{RescueWait, EvResume, Rescuing},
	{RescueWait, EvFail, RescueFail},
	{RescueWait, EvAbort, RescueFail},
	{RescueWait, EvDelete, Deleting},
	{RescueState, EvRescue, Rescuing},
	{RescueState, EvUnrescue, Unrescuing},
	{RescueState, EvDelete, Deleting},
	{RescueFail, EvRescue, Rescuing},
	{RescueFail, EvUnrescue, Unrescuing},
	{RescueFail, EvDelete, Deleting},
	{Unrescuing, EvDone, Active},
	{Unrescuing, EvFail, UnrescueFail},
	{UnrescueFail, EvRescue, Rescuing},
	{UnrescueFail, EvUnrescue, Unrescuing},
	{UnrescueFail, EvDelete, Deleting},

	{Servicing, EvDone, Active},
	{Servicing, EvWait, ServiceWait},
	{Servicing, EvHold, ServiceHold},
	{Servicing, EvFail, ServiceFail},
	{ServiceWait, EvResume, Servicing},
	{ServiceWait, EvHold, ServiceHold},
	{ServiceWait, EvFail, ServiceFail},
	{ServiceWait, EvAbort, ServiceFail},
	{ServiceWait, EvDelete, Deleting},
	{ServiceHold, EvService, Servicing},
	{ServiceHold, EvUnhold, ServiceWait},
	{ServiceHold, EvFail, ServiceFail},
	{ServiceHold, EvAbort, ServiceFail},
	{ServiceFail, EvService, Servicing},
	{ServiceFail, EvRescue, Rescuing},
	{ServiceFail, EvWait, ServiceWait},
	{ServiceFail, EvHold, ServiceHold},
	{ServiceFail, EvDelete, Deleting},
	{ServiceFail, EvAbort, Active},
}

// Next returns the state that event e leads to from state s, and whether the table has such a row.
func Next(s State, e Event) (State, bool) {
	for _, t := range Transitions {
		if t.From == s && t.On == e {
			return t.To, true
		}
	}
	return "", false
}

// targets is the target_provision_state on entering a state that is on its way. Stable states are absent: their target is null.
var targets = map[State]State{
	Verifying: Manageable,
	Deploying: Active, DeployWait: Active, DeployHold: Active, DeployFail: Active,
	Deleting: Available,
	Cleaning: Available, CleanWait: Available, CleanHold: Available, CleanFail: Available,
	Inspecting: Manageable, InspectWait: Manageable, InspectFail: Manageable,
	Adopting: Active, AdoptFail: Active,
	Rescuing: RescueState, RescueWait: RescueState, RescueFail: RescueState,
	Unrescuing: Active, UnrescueFail: Active,
	Servicing: Active, ServiceWait: Active, ServiceHold: Active, ServiceFail: Active,
}

// Target returns the target_provision_state that belongs to s: empty for a stable state.
func (s State) Target() State { return targets[s] }

// Stable reports whether a node may rest in s with nothing under way.
func (s State) Stable() bool {
	switch s {
	case Enroll, Manageable, Available, Active, Error, RescueState:
		return true
	}
	return false
}

// Known reports whether s is a provision state that a list filter may name.
func (s State) Known() bool {
	if s == deletedTarget || s == undeployTarget {
		return true
	}
	if _, ok := targets[s]; ok {
		return true
	}
	return s.Stable()
}

// Busy reports whether a conductor is at work on a node in s: the states that a dead conductor leaves behind.
func (s State) Busy() bool {
	switch s {
	case Deploying, Cleaning, Verifying, Inspecting, Adopting, Rescuing, Unrescuing, Deleting, Servicing:
		return true
	}
	return false
}

// Waiting reports whether a node in s waits for something outside the conductor, until a deadline.
func (s State) Waiting() bool {
	switch s {
	case DeployWait, CleanWait, InspectWait, RescueWait, ServiceWait:
		return true
	}
	return false
}

// Failed reports whether s is a state in which an action has failed and its target is kept.
func (s State) Failed() bool {
	switch s {
	case DeployFail, CleanFail, InspectFail, AdoptFail, RescueFail, UnrescueFail, ServiceFail:
		return true
	}
	return false
}

// UpdateAllowed reports whether the node may be patched in s although it has a target.
func (s State) UpdateAllowed() bool {
	switch s {
	case DeployFail, Inspecting, InspectFail, InspectWait, CleanFail, Error, Verifying, AdoptFail, RescueFail, UnrescueFail, ServiceHold, ServiceFail:
		return true
	}
	return false
}

// DeleteAllowed reports whether a node in s may be deleted without maintenance.
func (s State) DeleteAllowed() bool {
	switch s {
	case Manageable, Enroll, AdoptFail, Available:
		return true
	}
	return false
}

// Unstable reports whether a change of boot mode or secure boot is refused in s.
func (s State) Unstable() bool { return s.Busy() || s.Waiting() }

// Move applies event e to n: the new state, its target (target, if given, replaces the table's, as manual cleaning does), and the state the
// node came from. It reports false, and changes nothing, when the table has no such row.
func (n *Node) Move(e Event, target State) bool {
	to, ok := Next(n.Provision, e)
	if !ok {
		return false
	}
	switch {
	case to.Stable():
		n.TargetProvision = ""
	case target != "":
		n.TargetProvision = target
	case to.Failed() || to.Waiting() || isHold(to) || isResume(e):
		if n.TargetProvision == "" {
			n.TargetProvision = to.Target()
		}
	default:
		n.TargetProvision = to.Target()
	}
	n.Provision = to
	return true
}

func isHold(s State) bool   { return s == DeployHold || s == CleanHold || s == ServiceHold }
func isResume(e Event) bool { return e == EvResume || e == EvUnhold || e == EvWait }
