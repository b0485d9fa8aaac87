package driver

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/wire"
)

// Options configures a Driver. Zero fields mean the default.
type Options struct {
	Workers     int           // threads, 1 to MaxWorkers; default 2
	BusyPoll    time.Duration // how long a worker without work keeps looking before it sleeps; 0 to 1 s
	CPUs        []int         // one for each worker: the CPU that it is bound to; nil: none
	Name        string        // prefix of the threads' names, at most 10 bytes; default "lyq"
	MemoryLimit int64         // bytes that outboxes and blocks of endpoints take; default 1 GiB, at least 1 MiB
	Portable    bool          // poll through Go's net even where epoll exists
	NoBalance   bool          // endpoints stay on the worker that they were first placed on, or sent to
	Transports  []transport.Transport
	Log         func(level int, id, text string) // nil: no log; called from any goroutine
	// Memory is where long messages are assembled; nil: Go's heap.
	Memory Memory
	// Free gives back a C program's memory that was sent by reference; nil if only Go
	// sends. It runs on a worker.
	Free func(release, addr, hint uint64)
	// Trim gives memory back that the host keeps for speed; called on a worker when the
	// driver fell silent. May be nil.
	Trim func()
	// Descriptor is told of each descriptor that the driver opens or is about to
	// close, so that a C program's forked children can be rid of their copies. May be nil.
	Descriptor func(fd int, open bool)
	// Wake wakes the threads of a C program that sleep on the word; nil if
	// there are none.
	Wake func(word *atomic.Uint32)
	// Monotonic reads the clock that the threads of a C program read, in nanoseconds, so
	// that they can tell the driver's time; nil if there are none.
	Monotonic func() int64
}

// Bounds of Options.
const (
	MaxWorkers     = 64
	maxBusyPoll    = time.Second
	minMemoryLimit = 1 << 20
	maxName        = 10 // of the 15 bytes that a thread's name has, less "-NNNN"
)

func (o *Options) complete() error {
	if o.Workers == 0 {
		o.Workers = 2
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = 1 << 30
	}
	if o.Memory == nil {
		o.Memory = heap{}
	}
	if o.Name == "" {
		o.Name = "lyq"
	}
	switch {
	case o.Workers < 1 || o.Workers > MaxWorkers:
		return fmt.Errorf("workers is %d; 1 to %d are allowed", o.Workers, MaxWorkers)
	case o.BusyPoll < 0 || o.BusyPoll > maxBusyPoll:
		return fmt.Errorf("busy poll is %v; 0 to %v are allowed", o.BusyPoll, maxBusyPoll)
	case o.CPUs != nil && len(o.CPUs) != o.Workers:
		return fmt.Errorf("%d CPUs are given for %d workers; one each is needed", len(o.CPUs), o.Workers)
	case len(o.Name) > maxName:
		return fmt.Errorf("name %q is longer than %d bytes", o.Name, maxName)
	case o.MemoryLimit < minMemoryLimit:
		return fmt.Errorf("memory limit is %d bytes; at least %d are needed", o.MemoryLimit, int64(minMemoryLimit))
	}
	return nil
}

// EndpointOptions configures an endpoint. Zero fields mean the default.
type EndpointOptions struct {
	Worker int // 0: where the load is least; else the worker's number, from 1
	// Outbox is the cap on each lane's accepted and not acknowledged bytes, Window on the
	// bytes of messages that a lane may have received and not consumed. Both begin with
	// 256 KiB and grow as far as the link and the other side can use it; default 128 MiB.
	Outbox     uint64
	Window     uint32
	MaxMessage uint64        // longest message taken from the peer; default 1 MiB
	KeepAlive  time.Duration // silence before a ping; default 15 s, negative: no pings
	Connect    time.Duration // bound on an attempt to connect, and again on the handshake; default 10 s
	// Resume is how long the session outlives its link: a time, ForEver or WithLink. Default
	// of an endpoint that dials: ForEver (with a descriptor: WithLink), of an accepted
	// one: 60 s.
	Resume time.Duration
	// OnRestart is what becomes of what a peer that has restarted had not acknowledged.
	OnRestart endpoint.OnRestart
	// ManualAck has messages acknowledged when the program says so by Ack, and neither when
	// its callback has returned nor when they were released.
	ManualAck bool
	// Announce, if not nil, is given EventAccepted of what a listener accepts, on the endpoint's
	// worker, once its peer is there. The endpoint's sink is nil then, and with all that follows
	// it waits for Receive or Close, also when its peer has gone.
	Announce func(*Endpoint, endpoint.Event)
	// Ended, if not nil, is called on the worker after the last event, whether there is
	// a sink or not.
	Ended func(*Endpoint)
}

// Values of EndpointOptions.Resume that are no time.
const (
	ForEver  time.Duration = -1 // the session waits for another link until it is closed
	WithLink time.Duration = -2 // the endpoint ends with its link; nothing is dialled again
)

// acceptedResume is how long an accepted endpoint waits for its peer by default: longer
// than what a peer needs to be restarted or to get another address.
const acceptedResume = 60 * time.Second

// Bounds of EndpointOptions.
const (
	minOutbox  = 64 << 10
	maxOutbox  = 128 << 20
	minWindow  = endpoint.MinWindow
	maxWindow  = 1 << 30
	maxMessage = 1 << 30
	maxPeriod  = 24 * time.Hour
	maxResume  = 365 * 24 * time.Hour
)

// complete sets defaults, and refuses what is out of range; resume is the default of Resume.
func (o *EndpointOptions) complete(workers int, resume time.Duration) error {
	setDefault(&o.Outbox, 128<<20)
	setDefault(&o.Window, 128<<20)
	setDefault(&o.MaxMessage, wire.DefaultMaxMessage)
	setDefault(&o.KeepAlive, 15*time.Second)
	setDefault(&o.Connect, 10*time.Second)
	setDefault(&o.Resume, resume)
	switch {
	case o.Worker < 0 || o.Worker > workers:
		return fmt.Errorf("worker is %d; 0 to %d are allowed", o.Worker, workers)
	case o.Outbox < minOutbox || o.Outbox > maxOutbox:
		return fmt.Errorf("outbox is %d bytes; %d to %d are allowed", o.Outbox, minOutbox, maxOutbox)
	case o.Window < minWindow || o.Window > maxWindow:
		return fmt.Errorf("window is %d bytes; %d to %d are allowed", o.Window, minWindow, maxWindow)
	case o.MaxMessage < wire.DefaultMaxMessage || o.MaxMessage > maxMessage:
		return fmt.Errorf("longest message is %d bytes; %d to %d are allowed",
			o.MaxMessage, wire.DefaultMaxMessage, maxMessage)
	case o.KeepAlive > maxPeriod:
		return fmt.Errorf("keep-alive is %v; at most %v is allowed", o.KeepAlive, maxPeriod)
	case o.Resume > maxResume || o.Resume < WithLink:
		return fmt.Errorf("time to resume is %v; up to %v is allowed, or ForEver, or WithLink", o.Resume, maxResume)
	case o.OnRestart > endpoint.Drop:
		return fmt.Errorf("on restart is %d; Report, Resend and Drop are allowed", o.OnRestart)
	case o.Connect < 0 || o.Connect > maxPeriod:
		return fmt.Errorf("bound on connecting is %v; up to %v is allowed", o.Connect, maxPeriod)
	}
	return nil
}

// outlives returns Resume as the protocol has it.
func (o *EndpointOptions) outlives() int64 {
	if o.Resume == WithLink {
		return 0
	}
	return int64(o.Resume)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
