package sim

import (
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"
)

// Options configures an endpoint. Zero fields mean the default.
type Options struct {
	Outbox     uint64        // bound on each lane's accepted and not acknowledged bytes; default 256 KiB
	Window     uint64        // bytes of messages that a lane may have received and not consumed; default 256 KiB
	MaxMessage uint64        // longest message taken from the peer; default 1 MiB
	KeepAlive  time.Duration // silence before a ping; default 15 s, negative: no pings
	Connect    time.Duration // bound on an attempt to connect, and again on the handshake; default 10 s
	Backoff    time.Duration // pause before the first attempt to get another link; default 10 ms, doubled each time
	MaxBackoff time.Duration // and at most; default 1 s
	// Resume is how long the session outlives its link; negative: for ever. Default is
	// for ever where this side has dialled, and 60 s where it has accepted.
	Resume time.Duration
	// NoResume ends the endpoint with its link.
	NoResume bool
	// OnRestart is what becomes of what a peer that has restarted had not acknowledged.
	OnRestart endpoint.OnRestart
	// ManualAck has messages acknowledged by Ack, and not when the handler has taken them.
	ManualAck bool
}

func (o Options) complete(dialled bool) Options {
	fill(&o.Outbox, wire.DefaultWindow)
	fill(&o.Window, wire.DefaultWindow)
	fill(&o.MaxMessage, wire.DefaultMaxMessage)
	fill(&o.KeepAlive, 15*time.Second)
	fill(&o.Connect, 10*time.Second)
	fill(&o.Backoff, 10*time.Millisecond)
	fill(&o.MaxBackoff, time.Second)
	if dialled {
		fill(&o.Resume, -1)
	}
	fill(&o.Resume, time.Minute)
	if o.NoResume {
		o.Resume = 0
	}
	return o
}

func fill[T uint64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
