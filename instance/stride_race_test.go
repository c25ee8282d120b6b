//go:build race

package instance_test

// stride is larger here, since each life takes ten times as long under the race detector.
const stride = 7
