//go:build linux && race

package driver

// roleVariable names the part that the test binary plays when a test starts it again.
// Under the race detector no test does: it would measure the detector.
const roleVariable = "LYQUOR_TEST_ROLE"

func playRole(string) {}
