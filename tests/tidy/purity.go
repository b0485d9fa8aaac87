package tidy

import (
	"fmt"
	"go/ast"
	"go/types"
	"strconv"
	"strings"
)

// pure names the packages that take time, randomness and bytes as arguments, so that one run can be repeated to the bit
// and the same code runs in a browser.
var pure = []string{
	"engine/wire", "engine/outbox", "engine/secure", "engine/endpoint", "engine/driver/sched", "engine/transport",
}

func isPure(f *File) bool {
	for _, dir := range pure {
		if f.Dir() == dir {
			return f.Go != nil && !f.IsTest()
		}
	}
	return false
}

// impureImports are packages that reach outside; an entry covers what lies below it too.
var impureImports = []string{
	"net", "os", "syscall", "golang.org/x/sys", "math/rand", "crypto/rand", "log", "os/signal", "runtime/debug",
}

// The functions of package time that read or use the clock; its types are welcome.
var clock = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"Tick": true, "NewTimer": true, "NewTicker": true,
}

// The iterators of package maps, whose order differs from run to run.
var mapOrder = map[string]bool{"Keys": true, "Values": true, "All": true}

// Purity keeps I/O, clocks, randomness and concurrency out of the pure packages.
var Purity = Rule{"purity", func(t *Tree) ([]Finding, error) {
	return each(t, isPure, func(f *File) []Finding {
		found := impureImportsOf(f)
		ast.Inspect(f.Go, func(node ast.Node) bool {
			if remedy := impure(node); remedy != "" {
				found = append(found, f.at(node, "%s", remedy))
			}
			return true
		})
		return found
	})
}}

// impure says what is wrong with a node in a pure package and what to do, or "".
func impure(node ast.Node) string {
	switch node := node.(type) {
	case *ast.GoStmt:
		return "a pure package starts no goroutine: return, and let the driver call again"
	case *ast.SelectStmt:
		return "a pure package does not select: its caller decides what is next"
	case *ast.SendStmt:
		return "a pure package sends on no channel: return the value"
	case *ast.SelectorExpr:
		if isPackage(node.X, "time") && clock[node.Sel.Name] {
			return fmt.Sprintf("time.%s in a pure package: take the time as an argument (int64 nanoseconds, monotonic)",
				node.Sel.Name)
		}
	case *ast.RangeStmt:
		call, ok := node.X.(*ast.CallExpr)
		if !ok {
			return ""
		}
		callee, ok := call.Fun.(*ast.SelectorExpr)
		if ok && isPackage(callee.X, "maps") && mapOrder[callee.Sel.Name] {
			return fmt.Sprintf("maps.%s has no order: sort first (slices.Sorted)", callee.Sel.Name)
		}
	}
	return ""
}

func impureImportsOf(f *File) []Finding {
	var found []Finding
	for _, spec := range f.Go.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		for _, banned := range impureImports {
			if within(name, banned) {
				found = append(found, f.at(spec, "a pure package does not import %s: "+
					"take what it gives as an argument", name))
				break
			}
		}
	}
	return found
}

// isPackage says whether an expression is the name of an imported package; nothing here imports one under another name.
func isPackage(expr ast.Expr, name string) bool {
	ident, ok := expr.(*ast.Ident)
	return ok && ident.Name == name
}

// MapOrder finds loops over maps in the pure packages; only the types tell a map from a slice.
var MapOrder = Rule{"map-order", func(t *Tree) ([]Finding, error) {
	files, dirs := map[string][]*File{}, []string{}
	for _, f := range t.Files {
		if !isPure(f) || !builds(t, f) {
			continue
		}
		if files[f.Dir()] == nil {
			dirs = append(dirs, f.Dir())
		}
		files[f.Dir()] = append(files[f.Dir()], f)
	}
	exports, err := exportData(t, dirs)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, dir := range dirs {
		info, err := typeCheck(t, dir, files[dir], exports)
		if err != nil {
			return nil, err
		}
		for _, f := range files[dir] {
			ast.Inspect(f.Go, func(node ast.Node) bool {
				loop, ok := node.(*ast.RangeStmt)
				if ok && isMap(info.TypeOf(loop.X)) {
					found = append(found, f.at(loop, "the order of a map differs from run to run: "+
						"keep a slice, or sort the keys first"))
				}
				return true
			})
		}
	}
	return found, nil
}}

func isMap(t types.Type) bool {
	if t == nil {
		return false
	}
	_, ok := t.Underlying().(*types.Map)
	return ok
}

// Quiet keeps the engine from speaking or acting for the program that hosts it.
var Quiet = Rule{"quiet", func(t *Tree) ([]Finding, error) {
	host := func(f *File) bool {
		return f.Go != nil && !f.IsTest() && (within(f.Dir(), "engine") || within(f.Dir(), "capi"))
	}
	return each(t, host, func(f *File) []Finding {
		var found []Finding
		ast.Inspect(f.Go, func(node ast.Node) bool {
			if what := loud(node); what != "" {
				found = append(found, f.at(node, "%s: the library never prints, exits or writes to descriptor 1 or 2; "+
					"return an error or use the logger", what))
			}
			return true
		})
		return found
	})
}}

// loud names the call or variable by which a node would print or exit, or "".
func loud(node ast.Node) string {
	switch node := node.(type) {
	case *ast.SelectorExpr:
		x, ok := node.X.(*ast.Ident)
		if !ok {
			return ""
		}
		name := x.Name + "." + node.Sel.Name
		switch name {
		case "os.Exit", "os.Stdout", "os.Stderr", "syscall.Exit", "unix.Exit":
			return name
		}
		if strings.HasPrefix(name, "fmt.Print") || x.Name == "log" {
			return name
		}
	case *ast.CallExpr:
		if callee, ok := node.Fun.(*ast.Ident); ok && (callee.Name == "print" || callee.Name == "println") {
			return fmt.Sprintf("the builtin %s", callee.Name)
		}
	}
	return ""
}
