package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/lyquor/lyquor/engine/sim/chaos"
)

// reportEvery is how often a long run says how far it is.
const reportEvery = 10 * time.Second

func main() {
	seed := flag.Uint64("seed", 1, "the first seed")
	count := flag.Uint64("n", 1, "how many seeds to run, from the first on")
	verbose := flag.Bool("v", false, "print the plan, and what happens, of each seed")
	small := flag.Bool("small", true, "make what fails smaller")
	flag.Parse()
	begin := time.Now()
	var total totals
	for s, said := *seed, begin; s < *seed+*count; s++ {
		p := chaos.New(s)
		if *verbose {
			fmt.Println(p)
			p.Config.Trace = func(line string) { fmt.Println(line) }
		}
		r := p.Run()
		total.add(&r)
		if *count == 1 {
			fmt.Printf("seed %d: hash %016x after %v\n", s, r.Hash, r.Virtual)
		}
		if r.Err != nil {
			report(r, *small)
			os.Exit(1)
		}
		if time.Since(said) > reportEvery {
			said = time.Now()
			fmt.Printf("seed %d: %v\n", s, total.over(time.Since(begin)))
		}
	}
	fmt.Printf("ok: %v\n", total.over(time.Since(begin)))
}

// report prints a failure and, if wanted, what is left of it when all is taken away
// that can be.
func report(r chaos.Result, shrink bool) {
	fmt.Printf("FAILED %v\n%s\n\n", r.Err, chaos.Replay(r.Plan.Seed))
	if !shrink {
		return
	}
	r.Plan.Config.Trace = nil
	small := chaos.Shrink(r.Plan)
	if small.Err == nil {
		fmt.Println("a second run of the same plan did not fail: a run is not repeated to the bit")
		return
	}
	fmt.Printf("the smallest plan that fails: %v\n%v\n", small.Err, small.Plan)
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

// over says what was done in a time.
func (t *totals) over(real time.Duration) string {
	return fmt.Sprintf("%d seeds in %.1f s, %.0f seeds/s, %.0f virtual seconds each; %d events, %d messages "+
		"(%d MiB), %d sessions resumed, %d restarted, %d endpoints ended", t.seeds, real.Seconds(),
		float64(t.seeds)/real.Seconds(), t.virtual.Seconds()/real.Seconds(), t.events, t.messages, t.bytes>>20,
		t.resumes, t.new, t.ended)
}
