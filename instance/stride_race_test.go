//go:build race

package instance_test

// The strides are larger here, since each life takes ten times as long under the race detector.
const stride, journeyStride = 7, 17
