package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind says what a Fault does.
type FaultKind uint8

// The kinds of faults. A and B are nodes by their number, in the order of making.
const (
	FaultReset     FaultKind = iota // breaks the links between A and B
	FaultHalfOpen                   // breaks them so that only A notices
	FaultStall                      // nothing gets from A to B
	FaultPartition                  // nothing gets from or to A
	FaultRing                       // nothing gets to others than neighbours
	FaultCrash                      // the process of A ends, and starts again
	FaultDark                       // the machine of A goes off, and on again
	FaultPause                      // the process of A stands still
	FaultRefuse                     // A refuses links
	FaultSkew                       // A's clock drifts by Drift
	FaultSlow                       // A's handlers leave messages for later
	FaultDeaf                       // A reads nothing from its links
	FaultKinds                      // how many kinds there are
)

var faultNames = [FaultKinds]string{"reset", "half-open", "stall", "partition", "ring", "crash", "dark", "pause",
	"refuse", "skew", "slow", "deaf"}

func (k FaultKind) String() string {
	if k < FaultKinds {
		return faultNames[k]
	}
	return fmt.Sprintf("fault %d", uint8(k))
}

// Fault is something bad that happens at a time, and is over after another.
type Fault struct {
	Kind    FaultKind
	At, For time.Duration // For does not matter to resets and half-open links
	A, B    int
	Drift   int64 // of FaultSkew, parts per million
}

// String writes a fault as a line of a schedule.
func (f Fault) String() string {
	s := fmt.Sprintf("at %v %v %d", f.At, f.Kind, f.A)
	switch f.Kind {
	case FaultReset, FaultHalfOpen, FaultStall:
		s += fmt.Sprintf(" %d", f.B)
	case FaultSkew:
		s += fmt.Sprintf(" by %d ppm", f.Drift)
	}
	if f.lasts() {
		s += fmt.Sprintf(" for %v", f.For)
	}
	return s
}

// lasts says whether For matters.
func (f Fault) lasts() bool { return f.Kind != FaultReset && f.Kind != FaultHalfOpen }

// Schedule writes faults a line each, for people and for ParseSchedule.
func Schedule(faults []Fault) string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// ParseSchedule reads what Schedule has written, so that a failure can be kept, as a test
// or in a file, and run again.
func ParseSchedule(text string) ([]Fault, error) {
	var faults []Fault
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		f, line := parseFault(words), strings.Join(words, " ")
		if f.String() != line {
			like := Fault{Kind: FaultStall, At: time.Second, For: 20 * time.Millisecond, B: 1}
			return nil, fmt.Errorf("sim: %q is no fault; one reads like %q, the kinds are %s", line, like,
				strings.Join(faultNames[:], ", "))
		}
		faults = append(faults, f)
	}
	return faults, nil
}

// parseFault reads a line that String has written; of another one it makes something else.
func parseFault(words []string) (f Fault) {
	f.Kind = FaultKinds
	for i, word := range words[:len(words)-1] {
		value := words[i+1]
		switch kind := slices.Index(faultNames[:], word); {
		case kind >= 0:
			f.Kind = FaultKind(kind)
			f.A, _ = strconv.Atoi(value)
			f.B, _ = strconv.Atoi(words[min(i+2, len(words)-1)])
		case word == "at":
			f.At, _ = time.ParseDuration(value)
		case word == "for":
			f.For, _ = time.ParseDuration(value)
		case word == "by":
			f.Drift, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	return f
}

// Schedule has faults happen, at times counted from now. Where two overlap that undo
// one another, the end of the first is the end of both.
func (w *World) Schedule(faults []Fault) {
	for _, f := range faults {
		w.plan(w.now+int64(f.At), noteFault, func() { w.strike(f) })
		if f.lasts() {
			w.plan(w.now+int64(f.At+f.For), noteFault, func() { w.relieve(f) })
		}
	}
}

// strike begins a fault.
func (w *World) strike(f Fault) {
	a, b := w.nodes[f.A], w.nodes[f.B]
	switch f.Kind {
	case FaultReset:
		w.Reset(a, b)
	case FaultHalfOpen:
		w.HalfOpen(a, b)
	case FaultStall:
		w.Cut(a, b)
	case FaultPartition:
		w.Partition([]*Node{a})
	case FaultRing:
		w.Ring()
	case FaultCrash, FaultDark:
		a.Crash(f.Kind == FaultDark)
	case FaultPause:
		a.Pause()
	case FaultRefuse:
		a.Refuse(true)
	case FaultSkew:
		a.Skew(f.Drift)
	case FaultSlow:
		a.Slow(true)
	case FaultDeaf:
		a.Deafen(true)
	}
}

// relieve ends a fault.
func (w *World) relieve(f Fault) {
	a, b := w.nodes[f.A], w.nodes[f.B]
	switch f.Kind {
	case FaultStall:
		w.Mend(a, b)
	case FaultPartition, FaultRing:
		for _, x := range w.nodes {
			for _, y := range w.nodes {
				w.Mend(x, y)
			}
		}
	case FaultCrash, FaultDark:
		a.Restart()
	case FaultPause:
		a.Continue()
	case FaultRefuse:
		a.Refuse(false)
	case FaultSkew:
		a.Skew(0)
	case FaultSlow:
		a.Slow(false)
	case FaultDeaf:
		a.Deafen(false)
	}
}
