//go:build failpoints

package conductor

import (
	"os"
	"time"

	"github.com/riser-project/riser/driver"
)

// paced is the patience with machines. In a build for tests RISER_PATIENCE, a duration, sets it: how long a machine rests between off and on.
// Simulated machines need little.
func paced(p driver.Pace) driver.Pace {
	d, err := time.ParseDuration(os.Getenv("RISER_PATIENCE"))
	if err != nil {
		return p
	}
	return driver.Pace{Poll: d / 4, Rest: d, Off: 50 * d, SoftOff: 100 * d, On: 50 * d, Restart: 10 * d, Boot: 50 * d, Hint: d}
}
