package fake

import (
	"context"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// vendorMethods are those of Ironic's second fake vendor, with the value that their argument bar must have to be answered with true.
var vendorMethods = []struct {
	driver.VendorMethod
	bar string
}{
	{driver.VendorMethod{Name: "fourth_method_shared_lock", Description: "A vendor method that needs no exclusive lock.", Methods: []string{"POST"},
		Async: true, Shared: true}, "woof"},
	{driver.VendorMethod{Name: "log_passthrough", Description: "Log a message.", Methods: []string{"POST"}, Async: true}, ""},
	{driver.VendorMethod{Name: "second_method", Description: "A vendor method with an argument bar.", Methods: []string{"POST"}, Async: true}, "kazoo"},
	{driver.VendorMethod{Name: "third_method_sync", Description: "A vendor method that is answered at once.", Methods: []string{"POST"}}, "meow"},
}

// VendorMethods lists the methods of the implementation "fake".
func (d *Driver) VendorMethods(implementation string) []driver.VendorMethod {
	if implementation != "fake" {
		return nil
	}
	list := make([]driver.VendorMethod, len(vendorMethods))
	for i, m := range vendorMethods {
		list[i] = m.VendorMethod
	}
	return list
}

// CallVendor calls a method. A method with the argument bar answers whether bar has the method's own word.
func (c *Conn) CallVendor(ctx context.Context, method, httpMethod string, args node.Object) (any, error) {
	for _, m := range vendorMethods {
		if m.Name != method {
			continue
		}
		if !slices.Contains(m.Methods, strings.ToUpper(httpMethod)) {
			return nil, fault.New(fault.Invalid, "vendor method %s does not support HTTP %s; it has %s", method, httpMethod, strings.Join(m.Methods, ", "))
		}
		if m.bar == "" {
			return nil, c.pause(ctx, node.Vendor)
		}
		bar, ok := args["bar"]
		if !ok {
			return nil, fault.New(fault.Invalid, "Parameter 'bar' not passed to method '%s'.", method)
		}
		return bar == m.bar, c.pause(ctx, node.Vendor)
	}
	var names []string
	for _, m := range vendorMethods {
		names = append(names, m.Name)
	}
	return nil, fault.New(fault.Invalid, "No handler for method %s; the node has %s", method, strings.Join(names, ", "))
}
