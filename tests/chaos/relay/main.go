package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program: it relays until ctx ends or stdin is closed. The result is the
// exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		return 2 // parse has said why
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := start(ctx, o)
	if err != nil {
		fmt.Fprintln(stderr, "relay:", err)
		return 1
	}
	fmt.Fprintln(stderr, "listening on", r.address())
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // however it ends, nobody holds it any more
		cancel()
	}()
	<-ctx.Done()
	r.stop()
	line, err := r.counts.line()
	if err != nil {
		fmt.Fprintln(stderr, "relay:", err)
		return 1
	}
	fmt.Fprintln(stdout, string(line))
	return 0
}

// parse reads the command line; what is wrong with it goes to stderr.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` to listen at")
	flags.StringVar(&o.to, "to", "", "`address` to connect to")
	flags.Uint64Var(&o.seed, "seed", 1, "of the plan of faults")
	flags.DurationVar(&o.cutEvery, "cut-every", 0, "mean time between cuts of all connections")
	flags.BoolVar(&o.reset, "rst", false, "cut by RST, not by FIN")
	flags.DurationVar(&o.stallEvery, "stall-every", 0, "mean time between stalls")
	flags.DurationVar(&o.stallFor, "stall-for", 0, "how long a stall lasts")
	flags.DurationVar(&o.halfOpenEvery, "half-open-every", 0, "mean time between deaths of one direction")
	flags.DurationVar(&o.delay, "delay", 0, "how long bytes take, each way")
	flags.IntVar(&o.slice, "slice", 0, "longest piece, in `bytes`, that is passed on at once")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.listen = strings.TrimPrefix(o.listen, "tcp://")
	o.to = strings.TrimPrefix(o.to, "tcp://")
	err := o.check(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "relay:", err)
	}
	return o, err
}

// check refuses what makes no sense.
func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is no option", rest[0])
	case o.to == "":
		return fmt.Errorf("--to ADDRESS is required")
	case o.slice < 0:
		return fmt.Errorf("--slice %d: 0 or more is allowed", o.slice)
	case (o.stallEvery > 0) != (o.stallFor > 0):
		return fmt.Errorf("--stall-every and --stall-for are required together")
	case o.cutEvery < 0 || o.stallEvery < 0 || o.stallFor < 0 || o.halfOpenEvery < 0 || o.delay < 0:
		return fmt.Errorf("times must not be negative")
	}
	return nil
}
