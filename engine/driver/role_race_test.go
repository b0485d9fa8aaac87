//go:build linux && race

package driver

// manyEndpoints is less than elsewhere: under the race detector the process's memory
// for messages is a small piece of Go's heap.
const manyEndpoints = 200

// roleVariable names the part that the test binary plays when a test starts it again.
// Under the race detector no test does: it would measure the detector.
const roleVariable = "LYQUOR_TEST_ROLE"

func playRole(string) {}
