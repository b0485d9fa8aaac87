package wire

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func protocolPage(t *testing.T) string {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol.md"))
	require.NoError(t, err)
	return string(text)
}

// TestProtocolPageQuotesTheVectors requires each file to stand there whole, as a block.
func TestProtocolPageQuotesTheVectors(t *testing.T) {
	page, quoted := protocolPage(t), 0
	for _, g := range goldens() {
		if !g.inDoc {
			continue
		}
		file, err := os.ReadFile(goldenPath(g.name))
		require.NoError(t, err)
		require.Contains(t, page, "```\n"+string(file)+"```\n", g.name)
		quoted++
	}
	require.Equal(t, quoted, strings.Count(page, "```\n# "), "the page quotes what is no vector")
}

// TestProtocolPageHasTheNumbers keeps the page's tables at what the code does.
func TestProtocolPageHasTheNumbers(t *testing.T) {
	page := protocolPage(t)
	for _, k := range []Kind{Msg, Start, Frag, Skip, KindHello, KindPing, KindPong, KindGoAway, KindFin, KindAck} {
		require.Contains(t, page, fmt.Sprintf("\n| %d | %v |", k, k))
	}
	for lane := range Lane(Lanes) {
		require.Contains(t, page, fmt.Sprintf("%d %v", lane, lane))
	}
	for row, limit := range map[string]int{
		"payload of any frame":               MaxPayload,
		"payload of a control frame":         MaxControl,
		"message that every receiver takes":  DefaultMaxMessage,
		"message that the format can carry":  MaxMessage,
		"window unless HELLO states another": DefaultWindow,
		"`agent`":                            MaxAgent,
		"`text` of GOAWAY":                   MaxText,
	} {
		require.Contains(t, page, fmt.Sprintf("\n| %s | %d |\n", row, limit))
	}
	require.Contains(t, page, fmt.Sprintf("\n| 0 | 8 | magic | `% x` |\n", magic))
	require.Contains(t, page, fmt.Sprintf("This is wire version %d.", WireVersion))
}
