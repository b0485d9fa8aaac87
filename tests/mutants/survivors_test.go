package main

import (
	"path"
	"strings"
	"testing"

	"github.com/lyquor/lyquor/tests/overlay"

	"github.com/stretchr/testify/require"
)

// TestSurvivors: what survivors.txt knows of is a mutant of the text as it is now.
func TestSurvivors(t *testing.T) {
	root, err := overlay.Root()
	require.NoError(t, err)
	known, err := survivors(root + "/tests/mutants/survivors.txt")
	require.NoError(t, err)
	require.NotEmpty(t, known)
	there := make(map[string]map[string]bool) // by package
	for name := range known {
		file, _, _ := strings.Cut(name, " ")
		dir := path.Dir(file)
		if there[dir] == nil {
			all, err := mutants(root, dir)
			require.NoError(t, err)
			there[dir] = names(all)
		}
		require.True(t, there[dir][name], "outdated: %s", name)
	}
}
