//go:build !failpoints

package conductor

import "github.com/riser-project/riser/driver"

// paced is the patience with machines.
func paced(p driver.Pace) driver.Pace { return p }
