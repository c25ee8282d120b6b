//go:build integration && !race

package instance_test

// Every call fails once.
const stride, journeyStride = 1, 1
