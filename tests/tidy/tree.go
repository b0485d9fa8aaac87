package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Module is the path under which the packages of the repository are imported.
const Module = "github.com/lyquor/lyquor"

// Tree is the repository, or a small one of a test: every file that people write, read once.
type Tree struct {
	Root  string
	Files []*File
	fset  *token.FileSet
}

// File is one of them. Path is relative to the root, with slashes.
type File struct {
	Path  string
	Text  string
	Lines []string
	Go    *ast.File // nil where the file is not Go
	fset  *token.FileSet
}

// Finding is one place that breaks a rule.
type Finding struct {
	Path string
	Line int
	Text string
}

func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Text) }

// Rule is one thing that holds everywhere in the repository.
type Rule struct {
	Name  string
	Check func(*Tree) ([]Finding, error)
}

// Dir is the file's directory, relative to the root.
func (f *File) Dir() string { return path.Dir(f.Path) }

// IsTest says whether the file is compiled only into tests.
func (f *File) IsTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

var generatedMark = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// IsGenerated says whether the file carries the mark that Go's tools agree on.
func (f *File) IsGenerated() bool { return generatedMark.MatchString(f.Text) }

// at makes a finding at a node of the file's syntax.
func (f *File) at(node ast.Node, format string, args ...any) Finding {
	return Finding{f.Path, f.fset.Position(node.Pos()).Line, fmt.Sprintf(format, args...)}
}

// Directories whose contents nobody writes by hand, or that break rules on purpose.
var unread = map[string]bool{".git": true, "build": true, "testdata": true, "node_modules": true, "target": true}

// Files larger than this are data.
const sourceBytesMax = 1 << 20

// Load reads the tree below root.
func Load(root string) (*Tree, error) {
	tree := &Tree{Root: root, fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if unread[entry.Name()] {
				return filepath.SkipDir
			}
			return nil
		}
		if entry.Name() == ".git" {
			return nil // in a worktree it is a file that says where the repository is
		}
		return tree.add(name)
	})
	return tree, err
}

func (t *Tree) add(name string) error {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > sourceBytesMax {
		return err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if strings.IndexByte(string(data), 0) >= 0 {
		return nil
	}
	relative, err := filepath.Rel(t.Root, name)
	if err != nil {
		return err
	}
	file := &File{Path: filepath.ToSlash(relative), Text: string(data), fset: t.fset}
	file.Lines = strings.Split(strings.TrimSuffix(file.Text, "\n"), "\n")
	if strings.HasSuffix(name, ".go") {
		file.Go, err = parser.ParseFile(t.fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("%s does not parse: %w", file.Path, err)
		}
	}
	t.Files = append(t.Files, file)
	return nil
}

// each calls check for every file that pick accepts and gathers what it finds.
func each(t *Tree, pick func(*File) bool, check func(*File) []Finding) ([]Finding, error) {
	var found []Finding
	for _, file := range t.Files {
		if pick(file) {
			found = append(found, check(file)...)
		}
	}
	return found, nil
}

// within says whether a directory is top or below it.
func within(dir, top string) bool { return dir == top || strings.HasPrefix(dir, top+"/") }
