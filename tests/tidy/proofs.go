package tidy

import "regexp"

// promises is the page that names the tests of each promise.
const promises = "docs/guarantees.md"

// proof is a test that the page names, as `file`, `file#name` or `package#test`.
var proof = regexp.MustCompile("`((?:engine|capi|tests|bindings)/[\\w./-]+)(?:#([\\w-]+))?`")

// Proofs finds names of tests that are gone.
var Proofs = Rule{"proofs", func(t *Tree) ([]Finding, error) {
	return each(t, func(f *File) bool { return f.Path == promises }, func(f *File) []Finding {
		var found []Finding
		for i, line := range f.Lines {
			for _, name := range proof.FindAllStringSubmatch(line, -1) {
				if !t.proves(name[1], name[2]) {
					found = append(found, Finding{f.Path, i + 1, name[0] + ": there is no such test"})
				}
			}
		}
		return found
	})
}}

// proves says whether there is a file of that path, or a package with tests, that has a name in it.
func (t *Tree) proves(where, name string) bool {
	word := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`)
	for _, f := range t.Files {
		isFile, isPackage := f.Path == where, f.Dir() == where && f.IsTest()
		if (isFile || isPackage) && word.MatchString(f.Text) {
			return true
		}
	}
	return false
}
