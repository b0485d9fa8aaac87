package tidy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rules = []Rule{
	ImportOrder, Purity, MapOrder, Quiet,
	LineWidth, FileLength, FunctionLength, Formatted, PackageDoc, Generated,
	Markers, Words, SkippedTests,
	Modules, Proofs, Vet, Staticcheck,
}

// TestRepository applies every rule to the repository.
func TestRepository(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	tree, err := Load(root)
	require.NoError(t, err)
	require.NotEmpty(t, tree.Files)
	for _, rule := range rules {
		t.Run(rule.Name, func(t *testing.T) {
			found, err := rule.Check(tree)
			require.NoError(t, err)
			for _, finding := range found {
				t.Error(finding)
			}
		})
	}
}

// TestRulesBite applies every rule to its own archive of faults and wants exactly the lines that say so.
func TestRulesBite(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.Name, func(t *testing.T) {
			root := t.TempDir()
			want := unpack(t, filepath.Join("testdata", rule.Name+".txt"), root)
			require.NotEmpty(t, want, "the archive has no fault")
			tree, err := Load(root)
			require.NoError(t, err)
			found, err := rule.Check(tree)
			require.NoError(t, err)
			got := []string{}
			for _, finding := range found {
				require.NotEmpty(t, finding.Text)
				got = append(got, fmt.Sprintf("%s:%d", finding.Path, finding.Line))
			}
			sort.Strings(got)
			require.Equal(t, want, got, "%v", found)
		})
	}
}

var (
	fileHead = regexp.MustCompile(`^-- (\S+) --$`)
	repeated = regexp.MustCompile(`^\{(\d+) times\}(.*)$`)
)

// unpack writes the files of an archive below root and returns the faults that it announces: each line that has the
// word want, and what stands after "want " above the first file. "~~" is taken out of lines, so that an archive can
// hold words which no file of the repository may hold; "{N times}" before a line repeats it.
func unpack(t *testing.T, archive, root string) []string {
	data, err := os.ReadFile(archive)
	require.NoError(t, err)
	want := []string{}
	name, text := "", []string{}
	flush := func() {
		if name != "" {
			target := filepath.Join(root, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
			require.NoError(t, os.WriteFile(target, []byte(strings.Join(text, "\n")+"\n"), 0o644))
		}
		text = text[:0]
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if head := fileHead.FindStringSubmatch(line); head != nil {
			flush()
			name = head[1]
			continue
		}
		place, announced := strings.CutPrefix(line, "want ")
		if name == "" {
			if announced {
				want = append(want, place)
			}
			continue
		}
		times := 1
		if match := repeated.FindStringSubmatch(line); match != nil {
			_, err := fmt.Sscan(match[1], &times)
			require.NoError(t, err)
			line = match[2]
		}
		for range times {
			text = append(text, strings.ReplaceAll(line, "~~", ""))
		}
		if strings.Contains(line, "want") {
			want = append(want, fmt.Sprintf("%s:%d", name, len(text)))
		}
	}
	flush()
	sort.Strings(want)
	return want
}
