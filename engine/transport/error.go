package transport

// Cause is why an address or a link failed, independent of the system's codes.
type Cause uint8

// The causes. Each has one meaning on all transports.
const (
	CauseOther    Cause = iota // none of those below; what the system said stands behind it
	BadAddress                 // the address cannot be used here; the error says what is allowed
	Unresolved                 // the name has no address, or the resolver failed
	InUse                      // somebody listens there already
	Refused                    // nobody listens there
	Unreachable                // no route, network down, or not an address of this host
	TimedOut                   // the system or ctx gave up waiting
	Reset                      // the peer ended the link without an orderly end
	Denied                     // the system forbids it
	Exhausted                  // descriptors, ports or memory have run out
	Canceled                   // the caller gave up
	UnknownScheme              // no transport serves the address's scheme
)

var causeText = [...]string{"failed", "bad address", "name not resolved", "address in use", "connection refused",
	"unreachable", "timed out", "connection reset", "permission denied", "resources exhausted", "canceled",
	"unknown scheme"}

// String returns the cause in a few words.
func (c Cause) String() string {
	if int(c) >= len(causeText) {
		return causeText[CauseOther]
	}
	return causeText[c]
}

// Error is a failure at one address.
type Error struct {
	Op    string // "dial", "listen", "accept", "read", "write", "close"
	Addr  string // as the caller gave it; of a live link, its remote address
	Cause Cause
	Err   error // what lies behind it; nil if the cause says all
}

// Error names the operation, the address and the reason.
func (e *Error) Error() string {
	text := e.Op + " " + e.Addr + ": " + e.Cause.String()
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }
