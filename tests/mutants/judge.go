package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lyquor/lyquor/tests/overlay"
)

const (
	// slowness is how many times as much of the processor as without a change the tests
	// may use, and leastLimit what they may use in any case: on a busy machine time would say
	// nothing, and threads that wait for each other use several times as much as else.
	slowness   = 5
	leastLimit = time.Minute
	// patience is when tests that use nothing are given up.
	patience = 10 * time.Minute
	// memory is what a mutant may reserve, in KiB: one that goes on for ever may take all.
	memory = 16 << 20
)

// testFlags have the tests be quick, and those of rapid draw the same in every run and
// leave no files.
var (
	testFlags  = []string{"-test.short", "-test.failfast"}
	rapidFlags = []string{"-rapid.seed=1", "-rapid.shrinktime=1ns", "-rapid.nofailfile"}
)

// calibrate runs the tests on what is not changed.
func (r *round) calibrate() error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "test")
	if out, err := r.command("go", "test", "-c", "-vet=off", "-o", program, "./"+r.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not compile: %w\n%s", r.dir, err, out)
	}
	r.flags = testFlags
	if exec.Command(program, "-test.run=^$", rapidFlags[0]).Run() == nil {
		r.flags = append(r.flags, rapidFlags...)
	}
	r.limit = patience
	test := r.limited(context.Background(), filepath.Join(r.root, r.dir), program, r.flags...)
	if out, err := test.CombinedOutput(); err != nil {
		return fmt.Errorf("%s fails without any change: %w\n%s", r.dir, err, out)
	}
	r.limit = max(slowness*(test.ProcessState.UserTime()+test.ProcessState.SystemTime()), leastLimit)
	return nil
}

func (r *round) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = r.root
	return c
}

// judge says what becomes of a mutant, which is compiled in dir.
func (r *round) judge(dir string, m *mutant) (fate, error) {
	file := filepath.Join(r.root, m.file)
	source, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	changed, err := overlay.Write(dir, file, m.apply(source))
	if err != nil {
		return 0, err
	}
	program := filepath.Join(dir, "test")
	if r.command("go", "test", "-c", "-vet=off", changed, "-o", program, "./"+r.dir).Run() != nil {
		return misfit, nil
	}
	if f, err := r.fate(filepath.Join(r.root, r.dir), program, r.flags...); f != survived || r.worlds == 0 {
		return f, err
	}
	program = filepath.Join(dir, "sim")
	if out, err := r.command("go", "build", changed, "-o", program, "./tests/sim").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("tests/sim does not compile: %w\n%s", err, out)
	}
	f, err := r.fate(dir, program, "-n", strconv.Itoa(r.worlds), "-small=false", "-jobs=1")
	if f == killed || f == hung {
		f = noticed
	}
	return f, err
}

// fate says what a mutant's program does: it fails, does not end, or ends well.
func (r *round) fate(dir, program string, args ...string) (fate, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := r.limited(ctx, dir, program, args...)
	err := c.Run()
	switch {
	case err == nil:
		return survived, nil
	case c.ProcessState == nil:
		return 0, err
	case ctx.Err() != nil, c.ProcessState.UserTime()+c.ProcessState.SystemTime() >= r.limit:
		return hung, nil
	}
	return killed, nil
}

// limited returns a command that is killed when it has used too much.
func (r *round) limited(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	limits := fmt.Sprintf(`ulimit -t %d; ulimit -v %d; exec "$0" "$@"`, int(r.limit.Seconds())+1, memory)
	c := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", limits, program}, args...)...)
	c.Dir = dir
	return c
}

// survivors reads what is known of mutants that live: their names, each followed by
// an indented line that says why.
func survivors(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	known, name := make(map[string]string), ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || strings.HasPrefix(line, "#"):
		case line != trimmed:
			known[name] = trimmed
		default:
			name = trimmed
		}
	}
	return known, nil
}
