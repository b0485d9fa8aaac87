// Package tidy holds the rules of this repository that a program can check: who may import whom, what keeps a package
// pure, how long a function may be. A rule that is only written down is forgotten; these fail the build.
//
// A Rule reads a Tree and returns Findings, each with the file, the line and what to do. The test runs all rules on the
// repository, and each rule on an archive in testdata with one fault a line, so that every rule is known to bite.
package tidy
