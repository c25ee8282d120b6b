package conductor

import (
	"context"
	"slices"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// words reads an argument that the API has checked to be text.
func words(args node.Object, key string) string {
	s, _ := args[key].(string)
	return s
}

func setBootMode(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	b, err := able[driver.BootMode](c, "boot modes")
	if err != nil {
		return nil, err
	}
	modes, err := b.BootModes(ctx)
	if err != nil {
		return nil, err
	}
	mode := words(args, "boot_mode")
	if !slices.Contains(modes, mode) {
		return nil, fault.New(fault.Invalid, "Invalid boot mode %s specified. The node supports %v.", mode, modes)
	}
	return nil, b.SetBootMode(ctx, mode)
}

func setSecureBoot(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	b, err := able[driver.SecureBoot](c, "secure boot")
	if err != nil {
		return nil, err
	}
	on, err := node.ParseBool(args["secure_boot"])
	if err != nil {
		return nil, fault.New(fault.Invalid, "secure_boot: %w", err)
	}
	return nil, b.SetSecureBoot(ctx, on)
}

func injectNMI(ctx context.Context, c driver.Conn, _ node.Object) (any, error) {
	b, err := able[driver.NMI](c, "injecting an NMI")
	if err != nil {
		return nil, err
	}
	return nil, b.InjectNMI(ctx)
}

func getIndicators(ctx context.Context, c driver.Conn, _ node.Object) (any, error) {
	b, err := able[driver.Indicators](c, "indicators")
	if err != nil {
		return nil, err
	}
	return b.Indicators(ctx)
}

func getIndicator(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	b, err := able[driver.Indicators](c, "indicators")
	if err != nil {
		return nil, err
	}
	state, err := b.Indicator(ctx, words(args, "component"), words(args, "indicator"))
	return map[string]string{"state": state}, err
}

func setIndicator(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	b, err := able[driver.Indicators](c, "indicators")
	if err != nil {
		return nil, err
	}
	return nil, b.SetIndicator(ctx, words(args, "component"), words(args, "indicator"), words(args, "state"))
}

func getSensors(ctx context.Context, c driver.Conn, _ node.Object) (any, error) {
	b, err := able[driver.Sensors](c, "sensors")
	if err != nil {
		return nil, err
	}
	return b.Sensors(ctx)
}

// mediaAnswer is a virtual drive as the API shows it.
type mediaAnswer struct {
	ID         string   `json:"id"`
	MediaTypes []string `json:"media_types"`
	Inserted   bool     `json:"inserted"`
	Image      string   `json:"image"`
}

func getMedia(ctx context.Context, c driver.Conn, _ node.Object) (any, error) {
	b, err := able[driver.VirtualMedia](c, "virtual media")
	if err != nil {
		return nil, err
	}
	media, err := b.Media(ctx)
	answer := []mediaAnswer{}
	for _, m := range media {
		answer = append(answer, mediaAnswer{m.ID, m.Kinds, m.Image != "", m.Image})
	}
	return answer, err
}

func attachMedia(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	b, err := able[driver.VirtualMedia](c, "virtual media")
	if err != nil {
		return nil, err
	}
	return nil, b.InsertMedia(ctx, words(args, "device_type"), words(args, "image_url"))
}

func detachMedia(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	b, err := able[driver.VirtualMedia](c, "virtual media")
	if err != nil {
		return nil, err
	}
	kinds, _ := args["device_types"].([]any)
	if len(kinds) == 0 {
		return nil, b.EjectMedia(ctx, "")
	}
	for _, k := range kinds {
		kind, _ := k.(string)
		if err := b.EjectMedia(ctx, kind); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func callVendor(ctx context.Context, c driver.Conn, args node.Object) (any, error) {
	b, err := able[driver.Vendor](c, "vendor methods")
	if err != nil {
		return nil, err
	}
	inner, _ := args["args"].(node.Object)
	return b.CallVendor(ctx, words(args, "method"), words(args, "http_method"), inner)
}
