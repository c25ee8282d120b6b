package conductor

import (
	"context"
	"slices"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

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
