package wire

// The agent of a hypervisor that runs servers hears from the server what its own host is to run:
//
//	GET  /agents/v1/hosts/{host}/domains?after=N&wait=20s -> Domains
//	POST /agents/v1/hosts/{host}/domains/status           DomainReport -> Reply
//
// Nothing in it concerns a DPU or another host.

// Wants of a domain.
const (
	WantRunning = "running"
	WantStopped = "stopped"
	WantAbsent  = "absent" // stopped and forgotten, its functions given back
)

// Domain is what a host must do about one domain. It replaces what was said of the domain before.
type Domain struct {
	ID        string     `json:"id"` // UUID
	Revision  int64      `json:"revision"`
	Want      string     `json:"want"`
	Hard      bool       `json:"hard,omitempty"` // stop it without asking the guest
	Name      string     `json:"name,omitempty"`
	VCPUs     int        `json:"vcpus,omitempty"`
	MemoryMB  int        `json:"memory_mb,omitempty"`
	Image     string     `json:"image,omitempty"`
	Functions []Function `json:"functions,omitempty"`
	Removed   []string   `json:"removed,omitempty"` // addresses of functions that are to be taken from it
}

// Function is a PCI function of a domain.
type Function struct {
	Address string `json:"address"`
	MAC     string `json:"mac"` // of the port
}

// Domains are the domains of a host that were changed after a revision.
type Domains struct {
	Revision int64    `json:"revision"` // give it as after in the next request
	Domains  []Domain `json:"domains"`
}

// Kinds of a failure that lasts. One that may pass is not reported: the agent tries again.
const (
	FailedConflict = "conflict"
	FailedMissing  = "not found"
	FailedTimeout  = "timeout" // the guest did not do what it was asked
	FailedOther    = "other"
)

// DomainStatus is how a domain is, and whether a revision was carried out.
type DomainStatus struct {
	ID       string `json:"id"`
	Revision int64  `json:"revision"` // 0 when the state changed by itself
	State    string `json:"state"`    // absent, stopped, running, paused, crashed
	Kind     string `json:"kind,omitempty"`
	Error    string `json:"error,omitempty"` // why the revision could not be carried out
}

// DomainReport carries the status of some domains.
type DomainReport struct {
	Domains []DomainStatus `json:"domains"`
}
