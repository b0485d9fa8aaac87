package tidy

import (
	"strconv"
	"strings"
)

// layers lists the parts of the engine, and which of the others each may know. A part is a directory with all below it.
// The order of the parts is the architecture: a change here is a change of the design and needs its reasons there.
var layers = map[string][]string{
	"engine/arena":     nil,
	"engine/wire":      nil,
	"engine/outbox":    {"engine/arena", "engine/wire"},
	"engine/secure":    {"engine/wire"},
	"engine/transport": {"engine/arena", "engine/wire"},
	"engine/endpoint":  {"engine/arena", "engine/wire", "engine/outbox", "engine/secure", "engine/transport"},
	"engine/driver": {"engine/arena", "engine/wire", "engine/outbox", "engine/secure", "engine/transport",
		"engine/endpoint"},
	"engine/hub": {"engine/arena", "engine/wire", "engine/outbox", "engine/secure", "engine/transport",
		"engine/endpoint", "engine/driver"},
	"engine/sim": {"engine/arena", "engine/wire", "engine/outbox", "engine/secure", "engine/transport",
		"engine/endpoint", "engine/driver", "engine/hub"},
	"engine/network": {"engine/wire", "engine/secure", "engine/transport", "engine/endpoint", "engine/hub"},
}

// ImportOrder keeps imports running downwards, in tests too.
var ImportOrder = Rule{"import-order", func(t *Tree) ([]Finding, error) {
	inEngine := func(f *File) bool { return f.Go != nil && within(f.Dir(), "engine") }
	return each(t, inEngine, func(f *File) []Finding {
		part := partOf(f.Dir())
		if part == "" {
			return []Finding{f.at(f.Go.Name, "%s is no part of the engine that the design knows: "+
				"add it to the layers with what it may import", f.Dir())}
		}
		var found []Finding
		for _, spec := range f.Go.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			dir, ours := strings.CutPrefix(name, Module+"/")
			if ours && !mayImport(part, dir) {
				found = append(found, f.at(spec, "%s may not import %s: imports run downwards; "+
					"move the code, or pass what it needs as an argument or an interface", part, dir))
			}
		}
		return found
	})
}}

// partOf finds the part of the engine to which a directory belongs, "" where there is none.
func partOf(dir string) string {
	for part := range layers {
		if within(dir, part) {
			return part
		}
	}
	return ""
}

func mayImport(part, dir string) bool {
	if within(dir, part) {
		return true
	}
	for _, below := range layers[part] {
		if within(dir, below) {
			return true
		}
	}
	return false
}
