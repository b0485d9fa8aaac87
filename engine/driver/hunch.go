package driver

import "time"

// hunch tells when it is worth looking for more work before sleeping. In a dialogue
// the answer often comes sooner than a thread falls asleep and wakes up again, and
// then looking costs nobody anything; where it comes later, the time is wasted. So a
// worker looks while that pays, tries again now and then, and is right within a
// factor of what the better choice would have cost (Karlin, Manasse, McGeoch, Owicki:
// Competitive Randomized Algorithms for Non-Uniform Problems, SODA 1990; KVM does the
// same for idle virtual CPUs, Documentation/virt/kvm/halt-polling.rst).
type hunch struct {
	window int64 // how long to look this time, in nanoseconds; 0: sleep at once
	luck   int   // above 0: looks have paid of late
	turns  int   // with work
	saved  int64 // by looks that paid, less what yields have cost, in nanoseconds
}

const (
	// hunchWindow is what a wake-up takes on both sides, when CPUs are idle enough to
	// have gone to sleep.
	hunchWindow = 40 * int64(time.Microsecond)
	// hunchLuck is how many looks in a row may be in vain. The first ones are: the
	// other side has to find its luck too.
	hunchLuck = 32
	// hunchEvery is after how many turns with work a worker without luck tries again.
	hunchEvery = 2048
	// hunchCrowd is more than whoever answers needs of a CPU, and less than what the kernel
	// gives to who computes, in nanoseconds.
	hunchCrowd = int64(time.Millisecond)
	// hunchStream is more than a part of a dialogue: whoever sends that much in one go is not
	// waiting for an answer, but may be for the CPU.
	hunchStream = 60 << 10
	// hunchSaved bounds what a worker may lose again at once, in nanoseconds.
	hunchSaved = 20 * int64(time.Millisecond)
)

// worked notes a turn that had something to do, found while looking or not, and read so many
// bytes.
func (h *hunch) worked(looking bool, read uint64) {
	if looking && h.window > 0 {
		h.luck = min(h.luck+2, hunchLuck)
		h.saved = min(h.saved+hunchWindow, hunchSaved)
	}
	if h.turns++; h.turns%hunchEvery == 1 {
		h.luck = hunchLuck
	}
	h.window = 0
	if h.luck > 0 && read < hunchStream {
		h.window = hunchWindow
	}
}

// yield has others go first. If they compute, who yields is the last in the kernel's queue
// for the CPU, and may be there for as long as a thousand wake-ups take: that is worth it
// only where most looks find something before they yield, and what comes in that time was
// no luck.
func (h *hunch) yield(now func() int64, others func()) {
	begin := now()
	others()
	took := now() - begin
	if took < hunchCrowd {
		return
	}
	h.window = 0
	if h.saved -= took; h.saved < 0 {
		h.luck, h.saved = 0, 0
	}
}

// slept notes that nothing was found.
func (h *hunch) slept() {
	if h.window > 0 {
		h.window = 0
		h.luck--
	}
}
