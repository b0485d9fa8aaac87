package tcp

import (
	"net"
	"syscall"
)

// takeConn refuses: descriptors are a thing of Unix.
func takeConn(int) (halfCloser, error) {
	return nil, badAddress("no fd:// on Windows; allowed are tcp://host:port and tcp://[v6]:port")
}

// takeListener refuses likewise.
func takeListener(int) (net.Listener, error) {
	_, err := takeConn(0)
	return nil, err
}

// stopListening does nothing: closing is enough where processes do not fork.
func stopListening(syscall.RawConn) {}
