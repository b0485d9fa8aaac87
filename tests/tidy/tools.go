package tidy

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// modulesMax bounds the modules that a user of the library has to trust.
const modulesMax = 10

// Modules bounds the direct requirements of the main module.
var Modules = Rule{"modules", func(t *Tree) ([]Finding, error) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = t.Root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go mod edit: %w", err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return nil, err
	}
	direct := 0
	for _, require := range mod.Require {
		if !require.Indirect {
			direct++
		}
	}
	if direct <= modulesMax {
		return nil, nil
	}
	text := fmt.Sprintf("%d direct modules, at most %d: do without one", direct, modulesMax)
	return []Finding{{"go.mod", 1, text}}, nil
}}

// Vet runs go vet.
var Vet = Rule{"vet", func(t *Tree) ([]Finding, error) {
	return complaints(t, "go", "vet", "./...")
}}

// Staticcheck runs the version of staticcheck that tests/tools/go.mod pins.
var Staticcheck = Rule{"staticcheck", func(t *Tree) ([]Finding, error) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return nil, err
	}
	// With -n the go command builds the tool, if need be, and prints where it is: so it can run in another module.
	find := exec.Command("go", "-C", filepath.Join(root, "tests", "tools"), "tool", "-n", "staticcheck")
	program, err := find.Output()
	if err != nil {
		return nil, fmt.Errorf("staticcheck does not build (is the module cache filled?): %w", err)
	}
	return complaints(t, strings.TrimSpace(string(program)), "./...")
}}

var complaint = regexp.MustCompile(`^(?:vet: |-: )?(\S+?):(\d+):(?:\d+:)? (.*)$`)

// complaints runs a checker and, if it is not content, turns its lines into findings.
func complaints(t *Tree, name string, args ...string) ([]Finding, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = t.Root
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil, nil // What it printed are warnings of a C compiler.
	}
	var found []Finding
	for _, line := range strings.Split(string(out), "\n") {
		if match := complaint.FindStringSubmatch(line); match != nil {
			number, _ := strconv.Atoi(match[2])
			name := strings.TrimPrefix(strings.TrimPrefix(match[1], t.Root+"/"), "./")
			found = append(found, Finding{name, number, match[3]})
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, out)
	}
	return found, nil
}
