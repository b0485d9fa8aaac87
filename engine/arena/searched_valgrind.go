//go:build valgrind

package arena

// Searched is as in searched.go.
const Searched = true
