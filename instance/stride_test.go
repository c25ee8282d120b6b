//go:build !race

package instance_test

// stride is how many calls lie between those that fail.
const stride = 1
