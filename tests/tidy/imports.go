package tidy

import (
	"strconv"
	"strings"
)

// ranks lists the parts of the engine from the bottom up. A part is a directory with all below it; it may know the
// parts of lower ranks, and none beside it. A change here is a change of the design and needs its reasons there.
var ranks = [][]string{
	{"engine/arena", "engine/internal", "engine/wire"},
	{"engine/outbox", "engine/secure", "engine/transport"},
	{"engine/inbox", "engine/endpoint"},
	{"engine/driver"},
	{"engine/hub"},
	{"engine/sim", "engine/network"},
}

// ImportOrder keeps imports running downwards, in tests too.
var ImportOrder = Rule{"import-order", func(t *Tree) ([]Finding, error) {
	inEngine := func(f *File) bool { return f.Go != nil && within(f.Dir(), "engine") }
	return each(t, inEngine, func(f *File) []Finding {
		part, rank := partOf(f.Dir())
		if part == "" {
			return []Finding{f.at(f.Go.Name, "%s is no part of the engine that the design knows: "+
				"give it a rank in tests/tidy/imports.go", f.Dir())}
		}
		var found []Finding
		for _, spec := range f.Go.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			dir, ours := strings.CutPrefix(name, Module+"/")
			if ours && !mayImport(part, rank, dir) {
				found = append(found, f.at(spec, "%s may not import %s: imports run downwards; "+
					"move the code, or pass what it needs as an argument or an interface", part, dir))
			}
		}
		return found
	})
}}

// partOf finds the part of the engine to which a directory belongs, and its rank; "" where there is none.
func partOf(dir string) (part string, rank int) {
	for rank, parts := range ranks {
		for _, part := range parts {
			if within(dir, part) {
				return part, rank
			}
		}
	}
	return "", 0
}

func mayImport(part string, rank int, dir string) bool {
	other, below := partOf(dir)
	return other == part || other != "" && below < rank
}
