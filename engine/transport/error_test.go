package transport

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorSaysWhatAndWhere(t *testing.T) {
	err := error(&Error{Op: "dial", Addr: "tcp://a:1", Cause: Refused})
	require.EqualError(t, err, "dial tcp://a:1: connection refused")
	err = &Error{Op: "read", Addr: "tcp://a:1", Cause: Reset, Err: io.ErrUnexpectedEOF}
	require.EqualError(t, err, "read tcp://a:1: connection reset: unexpected EOF")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	var failure *Error
	require.True(t, errors.As(err, &failure))
	require.Equal(t, Reset, failure.Cause)
}

func TestEveryCauseHasText(t *testing.T) {
	seen := map[string]bool{}
	for c := CauseOther; c <= UnknownScheme; c++ {
		require.NotEmpty(t, c.String())
		require.False(t, seen[c.String()], "%q is said of two causes", c)
		seen[c.String()] = true
	}
	require.Len(t, causeText, len(seen))
	require.Equal(t, CauseOther.String(), Cause(255).String())
}
