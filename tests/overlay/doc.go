// Package overlay compiles the tree as if some of its text were other, and leaves the
// tree as it is: the go command reads a changed file from elsewhere.
package overlay
