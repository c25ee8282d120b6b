//go:build !race && !integration

package instance_test

// How many calls lie between those that fail: in a life, and in a journey. The integration tests leave none out.
const stride, journeyStride = 1, 5
