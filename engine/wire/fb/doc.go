// Package fb holds the accessors that the FlatBuffers compiler generates from
// schema/*.fbs; schema/generate.sh makes all of its other files anew. The accessors
// trust their input: bytes from a peer go through package wire, which verifies them
// first. Programs in Go have the same data as plain structs there.
package fb
