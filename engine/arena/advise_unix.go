//go:build unix && !linux && !race

package arena

// Only Linux promises that discarded pages read as zero, so elsewhere nothing is
// discarded.
const mapNoReserve = 0

func keepOutOfChildren([]byte) {}

func discard([]byte) bool { return false }
