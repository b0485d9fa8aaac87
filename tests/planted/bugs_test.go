package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlaces: the code still has the place of every bug, once.
func TestPlaces(t *testing.T) {
	for _, b := range bugs {
		text, err := os.ReadFile(filepath.Join("..", "..", b.file))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), b.old), "%s: %q in %s", b.name, b.old, b.file)
		require.NotEqual(t, b.old, b.new, b.name)
	}
}
