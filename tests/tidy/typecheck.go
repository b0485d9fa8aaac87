package tidy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// exportData asks the go command for the compiled form of every package on which the given directories depend. It
// compiles what is not in the build cache; nothing is fetched that the build would not fetch.
func exportData(t *Tree, dirs []string) (map[string]string, error) {
	args := []string{"list", "-deps", "-export", "-json=ImportPath,Export"}
	for _, dir := range dirs {
		args = append(args, "./"+dir)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = t.Root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, stderr.String())
	}
	exports := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var listed struct{ ImportPath, Export string }
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			return exports, nil
		} else if err != nil {
			return nil, err
		}
		exports[listed.ImportPath] = listed.Export
	}
}

// builds says whether a file belongs to this platform's build.
func builds(t *Tree, f *File) bool {
	ok, err := build.Default.MatchFile(filepath.Join(t.Root, f.Dir()), path.Base(f.Path))
	return ok && err == nil
}

// typeCheck gives the types of all expressions in the files of one package.
func typeCheck(t *Tree, dir string, files []*File, exports map[string]string) (*types.Info, error) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{},
		Defs: map[*ast.Ident]types.Object{}}
	var parsed []*ast.File
	for _, f := range files {
		parsed = append(parsed, f.Go)
	}
	open := func(name string) (io.ReadCloser, error) {
		if exports[name] == "" {
			return nil, fmt.Errorf("no export data for %s", name)
		}
		return os.Open(exports[name])
	}
	config := types.Config{Importer: importer.ForCompiler(t.fset, "gc", open)}
	if _, err := config.Check(Module+"/"+dir, t.fset, parsed, info); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return info, nil
}
