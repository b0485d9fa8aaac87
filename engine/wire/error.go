package wire

import (
	"errors"
	"fmt"
)

// Classes of errors, for errors.Is. Every error of this package is of one of them.
var (
	// ErrMalformed says that bytes break the format. The peer is faulty, hostile, or
	// no lyquor at all, and the link cannot go on.
	ErrMalformed = errors.New("wire: malformed")
	// ErrIncompatible says that the peer is a lyquor that speaks no common version or
	// suite, or demands a kind of frame that this one does not know.
	ErrIncompatible = errors.New("wire: incompatible")
)

// wireError is a sentence that belongs to a class.
type wireError struct {
	class error
	text  string
}

// Error returns the sentence alone: it already says more than the class.
func (e *wireError) Error() string { return "wire: " + e.text }

// Unwrap returns the class.
func (e *wireError) Unwrap() error { return e.class }

func malformed(format string, args ...any) error {
	return &wireError{ErrMalformed, fmt.Sprintf(format, args...)}
}

func incompatible(format string, args ...any) error {
	return &wireError{ErrIncompatible, fmt.Sprintf(format, args...)}
}
