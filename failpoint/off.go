//go:build !failpoints

package failpoint

// Hit is a visit of the point. Without the build tag failpoints it does nothing.
func Hit(Point) error { return nil }
