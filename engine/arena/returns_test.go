//go:build linux || race || !unix

package arena

// returns says whether Trim gives memory back on this system.
const returns = true
