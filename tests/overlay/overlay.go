package overlay

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root returns the directory of the module in which the program was started.
func Root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Write makes dir hold an overlay in which file has another text, and returns the
// flag by which the go command is told. The file's name is absolute.
func Write(dir, file string, text []byte) (flag string, err error) {
	changed, list := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(changed, text, 0o600); err != nil {
		return "", err
	}
	return "-overlay=" + list, os.WriteFile(list, replace, 0o600)
}
