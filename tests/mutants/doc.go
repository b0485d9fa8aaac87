// Command mutants asks whether the tests of a package would notice a mistake in it. It
// makes mutants, copies of the package with one small change each, draws some of them
// by a seed, and runs the package's tests on each.
//
//	go run ./tests/mutants [-seed N] [-n COUNT] [-only TEXT] [-sim SEEDS] [-list] [-v] [PACKAGE ...]
//
// The packages are engine/endpoint and engine/outbox unless others are named; -n is of
// each. A mutant whose tests fail, or do not end, is killed; where they see nothing, it is
// run in simulated worlds (-sim says in how many; 0: none), another suite of CI, and those
// may kill it. One that does not compile is not counted, and another is drawn in its
// place. What is left has survived: a test is missing, or the change makes no difference
// that a test may see. The file survivors.txt says which of them are known to be of the
// second kind, and why; they count as survivors all the same.
//
// The changes are those that mutation testers agree on: a comparison is turned round,
// or moved by one; a condition holds always or never; and becomes or; plus becomes
// minus, and the like; a number is one more or less; a statement is left out; what is
// returned is another value.
package main
