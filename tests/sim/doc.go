// Command sim runs many simulations at random, one for each seed.
//
//	go run ./tests/sim [-seed N] [-n COUNT] [-v] [-small=false] [-jobs COUNT]
//
// It prints how much virtual time went by for each second of real time. The lowest
// seed that fails is made smaller, printed with its schedule, and ends the command
// with status 1.
package main
