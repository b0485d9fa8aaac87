//go:build !valgrind

package arena

// Searched says that something reads all that is reserved: valgrind, for pointers, a second
// for each gigabyte. The build tag is that of Go's runtime.
const Searched = false
