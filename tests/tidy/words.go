package tidy

import (
	"go/ast"
	"path"
	"regexp"
	"strings"
)

// The words are put together here from pieces, so that this file does not break its own rules.
var (
	markers   = regexp.MustCompile(`\b(` + "TO" + "DO|FIX" + "ME|XX" + "X|HA" + `CK)\b|not ` + "implemented")
	strangers = regexp.MustCompile(`(proxy|sum)\.` + `golang|registry\.` + `(npmjs|yarnpkg)|py` + `pi\.org|` +
		`python` + `hosted\.org|crates` + `\.io|(deb|security)\.` + `debian|archive\.` + `ubuntu|` +
		`docker` + `\.(io|com)|gh` + `cr\.io`)
	places = regexp.MustCompile(`(^|[^\w.)}$])(/wo` + `rk/|/ro` + `ot/|/ho` + `me/\w|/tmp/ly` + `q/)`)
)

func lines(f *File, pattern *regexp.Regexp, remedy string) []Finding {
	var found []Finding
	for i, line := range f.Lines {
		if word := pattern.FindString(line); word != "" {
			found = append(found, Finding{f.Path, i + 1, strings.TrimSpace(word) + ": " + remedy})
		}
	}
	return found
}

// Markers finds notes that something is unfinished.
var Markers = Rule{"markers", func(t *Tree) ([]Finding, error) {
	return each(t, func(*File) bool { return true }, func(f *File) []Finding {
		return lines(f, markers, "finish it, or write down why it is right as it is")
	})
}}

// Words finds names that tie the sources to one machine, or to one place on the net.
var Words = Rule{"words", func(t *Tree) ([]Finding, error) {
	locks := map[string]bool{"go.sum": true, "Cargo.lock": true}
	return each(t, func(f *File) bool { return !locks[path.Base(f.Path)] }, func(f *File) []Finding {
		found := lines(f, strangers, "name no registry: its client knows where it is")
		return append(found, lines(f, places, "no path of one machine: use a temporary or relative one")...)
	})
}}

// skips are the methods by which a test leaves itself out.
var skips = map[string]bool{"Skip": true, "Skipf": true, "SkipNow": true}

// SkippedTests finds tests that can be left out: what cannot run on a platform belongs in a constrained file.
var SkippedTests = Rule{"skipped-tests", func(t *Tree) ([]Finding, error) {
	return each(t, func(f *File) bool { return f.Go != nil }, func(f *File) []Finding {
		var found []Finding
		ast.Inspect(f.Go, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			callee, ok := call.Fun.(*ast.SelectorExpr)
			if ok && (skips[callee.Sel.Name] || isPackage(callee.X, "testing") && callee.Sel.Name == "Short") {
				found = append(found, f.at(node, "a test that may be skipped proves nothing: "+
					"make it run, or constrain its file to where it can"))
			}
			return true
		})
		return found
	})
}}
