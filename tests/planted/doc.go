// Command planted asks whether simulation would notice a mistake in the engine. Each
// bug of a list is planted, alone, and simulated worlds are run until one of them
// breaks the promise.
//
//	go run ./tests/planted [-seed N] [-n SEEDS] [-only TEXT]
//
// It prints at which seed each was noticed, and by what. All must be, within SEEDS
// seeds; and a bug that the code has no place for any more is an error, so that the
// list keeps up with the code. The code itself is not touched.
package main
