package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lyquor/lyquor/tests/overlay"
)

// patience bounds what the worlds of one bug may take: one that hangs is noticed.
const patience = 3 * time.Minute

func main() {
	seed := flag.Uint64("seed", 1, "the first seed")
	count := flag.Uint64("n", 1000, "seeds within which a bug must be noticed")
	only := flag.String("only", "", "plant those bugs only whose name or file has this in it")
	jobs := flag.Int("jobs", runtime.NumCPU(), "how many are looked for at once")
	flag.Parse()
	root, err := overlay.Root()
	if err != nil {
		fmt.Fprintln(os.Stderr, "planted:", err)
		os.Exit(2)
	}
	h := hunt{root: root, seed: *seed, count: *count, queue: make(chan *bug)}
	begin := time.Now()
	var group sync.WaitGroup
	for range *jobs {
		group.Go(h.work)
	}
	for i := range bugs {
		if strings.Contains(bugs[i].name, *only) || strings.Contains(bugs[i].file, *only) {
			h.queue <- &bugs[i]
		}
	}
	close(h.queue)
	group.Wait()
	fmt.Printf("%d of %d planted bugs noticed, the last of them at seed %d, in %.0f s\n",
		h.noticed, h.planted, h.latest, time.Since(begin).Seconds())
	if h.noticed < h.planted || h.planted == 0 {
		os.Exit(1)
	}
}

// hunt looks for planted bugs.
type hunt struct {
	root  string
	seed  uint64
	count uint64
	queue chan *bug

	mu               sync.Mutex
	planted, noticed int
	latest           uint64 // seed that was needed
}

func (h *hunt) work() {
	for b := range h.queue {
		at, by, err := h.look(b)
		h.mu.Lock()
		h.planted++
		if err != nil {
			fmt.Printf("ERROR     %s: %v\n", b.name, err)
		} else if by == "" {
			fmt.Printf("MISSED    %s: no world of %d breaks the promise\n", b.name, h.count)
		} else {
			h.noticed++
			h.latest = max(h.latest, at)
			fmt.Printf("seed %4d %s: %s\n", at, b.name, by)
		}
		h.mu.Unlock()
	}
}

// look plants a bug, and returns the first seed that shows it, and what that says.
func (h *hunt) look(b *bug) (at uint64, by string, err error) {
	dir, err := os.MkdirTemp("", "planted")
	if err != nil {
		return 0, "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(h.root, b.file)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, "", err
	}
	if n := strings.Count(string(text), b.old); n != 1 {
		return 0, "", fmt.Errorf("%s has %q %d times, not once: it has changed, and tests/planted has to follow",
			b.file, b.old, n)
	}
	changed, err := overlay.Write(dir, file, []byte(strings.Replace(string(text), b.old, b.new, 1)))
	if err != nil {
		return 0, "", err
	}
	program := filepath.Join(dir, "sim")
	build := exec.Command("go", "build", changed, "-o", program, "./tests/sim")
	build.Dir = h.root
	if out, err := build.CombinedOutput(); err != nil {
		return 0, "", fmt.Errorf("it does not compile: %s", out)
	}
	return h.worlds(program)
}

// worlds runs seeds until one fails.
func (h *hunt) worlds(program string) (at uint64, by string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sim := exec.CommandContext(ctx, program, "-small=false", "-jobs=1",
		"-seed", strconv.FormatUint(h.seed, 10), "-n", strconv.FormatUint(h.count, 10))
	out, err := sim.Output()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return 0, "it hangs", nil
	}
	if err == nil {
		return 0, "", nil
	}
	// The report begins with: FAILED sim: seed 17 at 1.5s: what is wrong
	_, failure, _ := strings.Cut(string(out), "FAILED sim: ")
	failure, _, _ = strings.Cut(failure, "\n")
	if _, err := fmt.Sscanf(failure, "seed %d at", &at); err != nil {
		return 0, "", fmt.Errorf("tests/sim ends without a seed: %s", out)
	}
	_, by, _ = strings.Cut(failure, ": ")
	return at, by, nil
}
