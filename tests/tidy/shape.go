package tidy

import (
	"fmt"
	"go/ast"
	"go/format"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits of shape. A reader should see a function on one screen and hold a file in mind.
const (
	columnsMax       = 120
	tabColumns       = 4
	fileLinesMax     = 800
	functionLinesMax = 70
)

// sources are the kinds of file to which limits of shape apply; prose and tables are laid out by other rules.
var sources = map[string]bool{
	".go": true, ".c": true, ".h": true, ".sh": true, ".py": true, ".rs": true, ".js": true, ".ts": true, ".fbs": true,
}

func isSource(f *File) bool {
	return (sources[path.Ext(f.Path)] || path.Base(f.Path) == "Makefile") && !f.IsGenerated()
}

// LineWidth keeps lines within columnsMax.
var LineWidth = Rule{"line-width", func(t *Tree) ([]Finding, error) {
	return each(t, isSource, func(f *File) []Finding {
		var found []Finding
		for i, line := range f.Lines {
			columns := utf8.RuneCountInString(line) + strings.Count(line, "\t")*(tabColumns-1)
			if columns > columnsMax {
				found = append(found, Finding{f.Path, i + 1, fmt.Sprintf("%d columns, at most %d: break the line "+
					"(a tab counts %d)", columns, columnsMax, tabColumns)})
			}
		}
		return found
	})
}}

// FileLength keeps files within fileLinesMax.
var FileLength = Rule{"file-length", func(t *Tree) ([]Finding, error) {
	return each(t, isSource, func(f *File) []Finding {
		if len(f.Lines) <= fileLinesMax {
			return nil
		}
		return []Finding{{f.Path, fileLinesMax + 1,
			fmt.Sprintf("%d lines, at most %d: it has become two things, part them", len(f.Lines), fileLinesMax)}}
	})
}}

// FunctionLength keeps functions of Go and C within functionLinesMax, outside tests.
var FunctionLength = Rule{"function-length", func(t *Tree) ([]Finding, error) {
	code := func(f *File) bool { return isSource(f) && !f.IsTest() && !within(f.Dir(), "tests/c") }
	return each(t, code, func(f *File) []Finding {
		switch path.Ext(f.Path) {
		case ".go":
			return longGo(f)
		case ".c", ".h":
			return longC(f)
		}
		return nil
	})
}}

func tooLong(f *File, line, lines int, name string) Finding {
	return Finding{f.Path, line, fmt.Sprintf("%s has %d lines, at most %d: name its steps and make them functions",
		name, lines, functionLinesMax)}
}

func longGo(f *File) []Finding {
	var found []Finding
	for _, decl := range f.Go.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		first, last := f.fset.Position(fn.Pos()).Line, f.fset.Position(fn.End()).Line
		if last-first+1 > functionLinesMax {
			found = append(found, tooLong(f, first, last-first+1, fn.Name.Name))
		}
	}
	return found
}

var cName = regexp.MustCompile(`(\w+)\s*\(`)

// longC goes by the style of the C sources: what begins in the first column and has a parenthesis is the head of a
// function if an opening brace ends that line or a later one, and the next brace in the first column ends the function.
func longC(f *File) []Finding {
	var found []Finding
	head, open, comment := -1, false, false
	for i, line := range f.Lines {
		code, _, commented := strings.Cut(line, "/*")
		code = strings.TrimRight(code, " ")
		switch {
		case comment:
			comment = !strings.Contains(line, "*/")
			continue
		case commented:
			comment = !strings.Contains(line, "*/")
		}
		switch {
		case code == "" || code[0] == '#' || strings.HasPrefix(code, "//"):
			continue
		case code[0] == '}':
			if open && i-head+1 > functionLinesMax {
				found = append(found, tooLong(f, head+1, i-head+1, cName.FindStringSubmatch(f.Lines[head])[1]))
			}
			head, open = -1, false
		case !open && !strings.ContainsRune(" \t{", rune(code[0])):
			if head = -1; cName.MatchString(code) {
				head = i
			}
		}
		open = open || head >= 0 && strings.HasSuffix(code, "{")
	}
	return found
}

// Formatted finds Go files that gofmt would change.
var Formatted = Rule{"gofmt", func(t *Tree) ([]Finding, error) {
	isGo := func(f *File) bool { return f.Go != nil }
	return each(t, isGo, func(f *File) []Finding {
		want, err := format.Source([]byte(f.Text))
		if err != nil || string(want) == f.Text {
			return nil
		}
		for i, line := range strings.Split(string(want), "\n") {
			if i >= len(f.Lines) || f.Lines[i] != line {
				return []Finding{{f.Path, i + 1, "not formatted: run gofmt -w on it"}}
			}
		}
		return []Finding{{f.Path, len(f.Lines), "not formatted at its end: run gofmt -w on it"}}
	})
}}

// PackageDoc wants a doc.go with a package comment in every package that is not only tests or generated.
var PackageDoc = Rule{"package-doc", func(t *Tree) ([]Finding, error) {
	documented, seen := map[string]bool{}, map[string]bool{}
	var dirs []string
	for _, f := range t.Files {
		if f.Go == nil || f.IsTest() || f.IsGenerated() {
			continue
		}
		if !seen[f.Dir()] {
			seen[f.Dir()] = true
			dirs = append(dirs, f.Dir())
		}
		if path.Base(f.Path) == "doc.go" && f.Go.Doc != nil {
			documented[f.Dir()] = true
		}
	}
	var found []Finding
	for _, dir := range dirs {
		if !documented[dir] {
			found = append(found, Finding{dir + "/doc.go", 1, "missing, or without a package comment: " +
				"say what the package is, what it knows, and what it leaves to others"})
		}
	}
	return found, nil
}}

// Generated wants the mark on code that a program wrote, so that readers and tools pass over it.
var Generated = Rule{"generated", func(t *Tree) ([]Finding, error) {
	made := func(f *File) bool {
		inside := within(f.Dir(), "engine/wire/fb") && path.Base(f.Path) != "doc.go"
		return f.Go != nil && (inside || strings.HasSuffix(f.Path, "_generated.go"))
	}
	return each(t, made, func(f *File) []Finding {
		if f.IsGenerated() {
			return nil
		}
		return []Finding{{f.Path, 1, `generated code begins with "// Code generated by ... DO NOT EDIT."; ` +
			"code written by hand stands elsewhere"}}
	})
}}
