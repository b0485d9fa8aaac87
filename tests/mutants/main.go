package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lyquor/lyquor/tests/overlay"
)

func main() {
	seed := flag.Uint64("seed", 1, "which mutants are drawn")
	count := flag.Int("n", 60, "how many of each package; 0: all")
	worlds := flag.Int("sim", 300, "simulated worlds in which a mutant is run that the tests let live; 0: none")
	jobs := flag.Int("jobs", runtime.NumCPU(), "how many are run at once")
	only := flag.String("only", "", "draw those only whose name has this in it")
	list := flag.Bool("list", false, "print what would be run, and run nothing")
	verbose := flag.Bool("v", false, "print each mutant's fate")
	flag.Parse()
	dirs := flag.Args()
	if len(dirs) == 0 {
		dirs = []string{"engine/endpoint", "engine/outbox"}
	}
	ok := true
	for _, dir := range dirs {
		r := &round{dir: dir, only: *only, worlds: *worlds, verbose: *verbose}
		if err := r.run(*seed, *count, *jobs, *list); err != nil {
			fmt.Fprintln(os.Stderr, "mutants:", err)
			os.Exit(2)
		}
		ok = ok && (*list || r.enough())
	}
	if !ok {
		os.Exit(1)
	}
}

// enoughShare is what must be killed of those that compile, in percent.
const enoughShare = 90

// round is the judgement of one package.
type round struct {
	dir     string
	only    string
	root    string
	worlds  int
	verbose bool
	known   map[string]string // survivors that were looked at, and why they live
	flags   []string          // of the tests
	limit   time.Duration     // of the processor's time that they may use

	mu       sync.Mutex
	left     []mutant // to be judged, from the end
	wanted   int
	pending  int
	fates    [fates]int
	survived []mutant
}

// fate is what became of a mutant.
type fate int

const (
	misfit  fate = iota // it does not compile
	killed              // by a test
	hung                // the tests did not end
	noticed             // by a simulated world
	survived
	fates
)

func (f fate) String() string {
	return [...]string{"does not compile", "killed", "hangs", "noticed by a world", "SURVIVED"}[f]
}

func (r *round) run(seed uint64, count, jobs int, list bool) (err error) {
	if r.root, err = overlay.Root(); err != nil {
		return err
	}
	all, err := mutants(r.root, r.dir)
	if err != nil {
		return err
	}
	if r.known, err = survivors(filepath.Join(r.root, "tests/mutants/survivors.txt")); err != nil {
		return err
	}
	r.outdated(all)
	all = slices.DeleteFunc(all, func(m mutant) bool { return !strings.Contains(m.name(), r.only) })
	// The draw depends on the seed and the package's text alone.
	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if count == 0 || count > len(all) {
		count = len(all)
	}
	fmt.Printf("%s: %d mutants, seed %d draws %d\n", r.dir, len(all), seed, count)
	if list {
		for _, m := range all[:count] {
			fmt.Printf("%s:%d: %s\n", m.file, m.line, m.name())
		}
		return nil
	}
	r.left, r.wanted = all, count
	begin := time.Now()
	if err := r.calibrate(); err != nil {
		return err
	}
	var group sync.WaitGroup
	failures := make(chan error, jobs)
	for range jobs {
		group.Go(func() {
			if err := r.work(); err != nil {
				failures <- err
			}
		})
	}
	group.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	r.report(time.Since(begin))
	return nil
}

// outdated names what survivors.txt says of text that is no more.
func (r *round) outdated(all []mutant) {
	there := names(all)
	for name := range r.known {
		if strings.HasPrefix(name, r.dir+"/") && !there[name] {
			fmt.Printf("outdated in survivors.txt: %s\n", name)
		}
	}
}

func names(all []mutant) map[string]bool {
	there := make(map[string]bool)
	for i := range all {
		there[all[i].name()] = true
	}
	return there
}

// next gives out a mutant, unless enough are judged or under way.
func (r *round) next() (m mutant, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.judged()+r.pending >= r.wanted || len(r.left) == 0 {
		return m, false
	}
	m, r.left = r.left[0], r.left[1:]
	r.pending++
	return m, true
}

// judged counts the mutants that compiled.
func (r *round) judged() int {
	return r.fates[killed] + r.fates[hung] + r.fates[noticed] + r.fates[survived]
}

func (r *round) work() error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for {
		m, ok := r.next()
		if !ok {
			return nil
		}
		f, err := r.judge(dir, &m)
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.pending--
		r.fates[f]++
		if f == survived {
			r.survived = append(r.survived, m)
		}
		if r.verbose {
			fmt.Printf("%-18v %s:%d: %s\n", f, m.file, m.line, m.name())
		}
		r.mu.Unlock()
	}
}

// killed counts the mutants that the tests or a world noticed.
func (r *round) killed() int { return r.judged() - r.fates[survived] }

// enough says whether as many were killed as must be.
func (r *round) enough() bool { return 100*r.killed() >= enoughShare*r.judged() }

func (r *round) report(took time.Duration) {
	known := 0
	for _, m := range r.survived {
		why := r.known[m.name()]
		if why == "" {
			why = "UNKNOWN: write a test, or say in tests/mutants/survivors.txt why there can be none"
		} else {
			known++
		}
		fmt.Printf("survived %s:%d: %s\n         %s\n", m.file, m.line, m.name(), why)
	}
	n := r.judged()
	fmt.Printf("%s: %d of %d killed (%.1f %%): %d by the package's tests, %d of these by hanging, and %d by simulated "+
		"worlds alone; %d survived, %d known; %d did not compile; %.0f s\n", r.dir, r.killed(), n,
		100*float64(r.killed())/float64(max(n, 1)), r.fates[killed]+r.fates[hung], r.fates[hung], r.fates[noticed],
		len(r.survived), known, r.fates[misfit], took.Seconds())
}
