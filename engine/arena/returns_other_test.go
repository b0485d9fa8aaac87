//go:build unix && !linux && !race

package arena

const returns = false
