package conductor

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// call is something a machine can be asked or told outside of a flow.
type call struct {
	changes bool // needs the node for itself
	run     func(ctx context.Context, c driver.Conn, args node.Object) (any, error)
}

// calls is the list of them, by the name that an API handler uses.
var calls = map[string]call{
	"get_boot_device":            {run: getBootDevice},
	"get_supported_boot_devices": {run: getBootDevices},
	"set_boot_device":            {changes: true, run: setBootDevice},
	"send_raw":                   {changes: true, run: sendRaw},
	"get_identity":               {run: getIdentity},
	"set_boot_mode":              {changes: true, run: setBootMode},
	"set_secure_boot":            {changes: true, run: setSecureBoot},
	"inject_nmi":                 {changes: true, run: injectNMI},
	"get_indicators":             {run: getIndicators},
	"get_indicator":              {run: getIndicator},
	"set_indicator":              {changes: true, run: setIndicator},
	"get_sensors":                {run: getSensors},
	"get_virtual_media":          {run: getMedia},
	"attach_virtual_media":       {changes: true, run: attachMedia},
	"detach_virtual_media":       {changes: true, run: detachMedia},
	"call_vendor":                {changes: true, run: callVendor},
}

// Calls returns the names of the calls, sorted.
func Calls() []string {
	names := make([]string, 0, len(calls))
	for name := range calls {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func able[T any](c driver.Conn, what string) (T, error) {
	t, ok := driver.As[T](c)
	if !ok {
		return t, driver.Unsupported(what)
	}
	return t, nil
}

func getBootDevice(ctx context.Context, c driver.Conn, _ node.Object) (any, error) {
	b, err := able[driver.BootDevice](c, "boot devices")
	if err != nil {
		return nil, err
	}
	device, persistent, err := b.BootDevice(ctx)
	if device == "" {
		return map[string]any{"boot_device": nil, "persistent": nil}, err
	}
	return map[string]any{"boot_device": device, "persistent": persistent}, err
}

func getBootDevices(ctx context.Context, c driver.Conn, _ node.Object) (any, error) {
	b, err := able[driver.BootDevice](c, "boot devices")
	if err != nil {
		return nil, err
	}
	devices, err := b.BootDevices(ctx)
	return map[string]any{"supported_boot_devices": devices}, err
}

func setBootDevice(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	b, err := able[driver.BootDevice](c, "boot devices")
	if err != nil {
		return nil, err
	}
	device, _ := args["boot_device"].(string)
	devices, err := b.BootDevices(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(devices, device) {
		return nil, fault.New(fault.Invalid, "Invalid boot device %s specified. The node supports %v.", device, devices)
	}
	persistent := false
	if v, ok := args["persistent"]; ok {
		if persistent, err = node.ParseBool(v); err != nil {
			return nil, fault.New(fault.Invalid, "persistent: %w", err)
		}
	}
	return nil, b.SetBootDevice(ctx, device, persistent)
}

func sendRaw(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	r, err := able[driver.Raw](c, "raw commands")
	if err != nil {
		return nil, err
	}
	request, err := driver.ParseRaw(args["raw_bytes"])
	if err != nil {
		return nil, err
	}
	answer, err := r.SendRaw(ctx, request)
	return driver.FormatRaw(answer), err
}

func getIdentity(ctx context.Context, c driver.Conn, _ node.Object) (any, error) {
	i, err := able[driver.Identifier](c, "reading its identity")
	if err != nil {
		return nil, err
	}
	return i.Identity(ctx)
}

func (in *Intake) call(ctx context.Context, ref string, c Call) (json.RawMessage, error) {
	what, ok := calls[c.Name]
	if !ok {
		return nil, fault.New(fault.Invalid, "call %q is not one of %v", c.Name, Calls())
	}
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	op := &store.Op{UUID: uuid.NewString(), Kind: kindCall, State: store.OpPlanned, Spec: spec{Call: c.Name, Args: c.Args}.raw(), Actor: c.Actor}
	woken, unsubscribe := in.DB.Subscribe(store.TopicOp(op.UUID))
	defer unsubscribe()
	err := in.DB.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(ctx, ref)
		if err != nil {
			return err
		}
		if what.changes && n.Reservation != "" {
			return Locked(n)
		}
		op.Root, op.Node, op.Lease = n.Root(), n.UUID, n.Lease
		return tx.InsertOp(ctx, op, []*store.OpStep{{Node: n.UUID, Interface: node.Management, Step: c.Name, Args: c.Args, State: store.StepPlanned}})
	})
	if err != nil {
		return nil, err
	}
	return in.await(ctx, op.UUID, woken)
}

// await waits for the end of a call and returns its answer.
func (in *Intake) await(ctx context.Context, id string, woken <-chan struct{}) (json.RawMessage, error) {
	look := time.NewTicker(time.Second) // a wake-up can be lost
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Timeout, "the conductor did not answer in time: the request (operation %s) may still be carried out", id)
		case <-woken:
		case <-look.C:
		}
		var op *store.Op
		err := in.DB.Read(ctx, func(tx *store.Tx) (err error) { op, err = tx.Op(ctx, id); return err })
		if err != nil {
			return nil, err
		}
		if op.Ended.IsZero() {
			continue
		}
		if op.State == store.OpDone {
			return op.Result, nil
		}
		var r callFault
		if err := json.Unmarshal(op.Result, &r); err != nil {
			return nil, fault.New(fault.Internal, "%s", op.Error)
		}
		return nil, fault.New(r.Kind, "%s", op.Error)
	}
}

// callFault keeps the kind of a call's error in the operation's result.
type callFault struct {
	Kind fault.Kind `json:"kind"`
}
