package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/lyquor/lyquor/engine/sim/chaos"
)

const (
	// reportEvery is how often a long run says how far it is.
	reportEvery = 10 * time.Second
	// garbage is how much of it there may be, in percent of what lives: worlds make much
	// and live shortly.
	garbage = 400
	// storyLines is how much is told of what happened before a failure.
	storyLines = 30
)

func main() {
	var s series
	flag.Uint64Var(&s.next, "seed", 1, "the first seed")
	count := flag.Uint64("n", 1, "how many seeds to run, from the first on")
	verbose := flag.Bool("v", false, "print the plan, and what happens, of each seed")
	small := flag.Bool("small", true, "make what fails smaller")
	jobs := flag.Int("jobs", runtime.NumCPU(), "how many worlds to run at once")
	flag.Parse()
	debug.SetGCPercent(garbage)
	s.end, s.one, s.verbose = s.next+*count, *count == 1, *verbose
	if s.verbose {
		*jobs = 1
	}
	s.begin = time.Now()
	s.said = s.begin
	var group sync.WaitGroup
	for range *jobs {
		group.Go(s.work)
	}
	group.Wait()
	if s.failed != nil {
		report(s.failed, *small)
		os.Exit(1)
	}
	fmt.Printf("ok: %v\n", s.over())
}

// series is a run of many seeds, each of which is a world of its own.
type series struct {
	end          uint64
	one, verbose bool
	begin        time.Time

	mu     sync.Mutex
	next   uint64
	failed *chaos.Result // of the lowest seed that failed
	total  totals
	said   time.Time
}

func (s *series) work() {
	for {
		s.mu.Lock()
		seed := s.next
		if seed == s.end || s.failed != nil {
			s.mu.Unlock()
			return
		}
		s.next++
		s.mu.Unlock()
		s.run(seed)
	}
}

func (s *series) run(seed uint64) {
	p := chaos.New(seed)
	if s.verbose {
		fmt.Println(p)
		p.Config.Trace = func(line string) { fmt.Println(line) }
	}
	r := p.Run()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total.add(&r)
	if s.one {
		fmt.Printf("seed %d: hash %016x after %v\n", seed, r.Hash, r.Virtual)
	}
	if r.Err != nil && (s.failed == nil || seed < s.failed.Plan.Seed) {
		s.failed = &r
	}
	if time.Since(s.said) > reportEvery {
		s.said = time.Now()
		fmt.Printf("seed %d: %v\n", seed, s.over())
	}
}

// report prints a failure and, if wanted, what is left of it when all is taken away
// that can be.
func report(r *chaos.Result, shrink bool) {
	fmt.Printf("FAILED %v\nto see it again: %s\n", r.Err, chaos.Replay(r.Plan.Seed))
	if !shrink {
		return
	}
	r.Plan.Config.Trace = nil
	small := chaos.Shrink(r.Plan)
	if small.Err == nil {
		fmt.Println("a second run of the same plan did not fail: a run is not repeated to the bit")
		return
	}
	fmt.Printf("\nthe smallest plan that fails: %v\n%v\n", small.Err, small.Plan)
	var story []string
	small.Plan.Config.Trace = func(line string) { story = append(story, line) }
	small.Plan.Run()
	fmt.Printf("\nwhat happens in it, at last:\n%s\n", strings.Join(story[max(len(story)-storyLines, 0):], "\n"))
}

// totals adds up results.
type totals struct {
	seeds                                        int
	virtual                                      time.Duration
	events, messages, bytes, resumes, new, ended uint64
}

func (t *totals) add(r *chaos.Result) {
	t.seeds++
	t.virtual += r.Virtual
	t.events += r.Counts.Events
	t.messages += r.Counts.Delivered
	t.bytes += r.Counts.Bytes
	t.resumes += r.Counts.Resumes
	t.new += r.Counts.Restarts
	t.ended += r.Counts.Closed
}

// over says what was done so far.
func (s *series) over() string {
	t, real := &s.total, time.Since(s.begin).Seconds()
	return fmt.Sprintf("%d seeds in %.1f s, %.0f seeds/s, %.0f virtual seconds each; %d events, %d messages "+
		"(%d MiB), %d sessions resumed, %d restarted, %d endpoints ended", t.seeds, real, float64(t.seeds)/real,
		t.virtual.Seconds()/real, t.events, t.messages, t.bytes>>20, t.resumes, t.new, t.ended)
}
