// Package chaos makes simulations at random: from a seed it draws a world, programs
// that talk across it, and a schedule of faults, runs that, and says whether the
// engine kept its promise (package sim lists what is checked). It uses nothing of
// package sim that other programs could not use.
//
//	r := chaos.New(seed).Run()
//	if r.Err != nil {
//		fmt.Println(r.Err, chaos.Shrink(r.Plan))
//	}
package chaos
