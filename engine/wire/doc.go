// Package wire is lyquor's wire format: bytes to values and back, and nothing else.
package wire
