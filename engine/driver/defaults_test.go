package driver

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestDefaults: the table in lyquor.h tells the defaults that options have.
func TestDefaults(t *testing.T) {
	text, err := os.ReadFile("../../include/lyquor.h")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), " * Defaults\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "*/")
	told := map[string]int64{}
	for _, row := range regexp.MustCompile(`(\w+) +(\d+)`).FindAllStringSubmatch(table, -1) {
		told[row[1]], err = strconv.ParseInt(row[2], 10, 64)
		require.NoError(t, err)
	}
	var d Options
	var e EndpointOptions
	require.NoError(t, d.complete())
	require.NoError(t, e.complete(d.Workers, acceptedResume))
	require.Equal(t, map[string]int64{
		"workers":      int64(d.Workers),
		"busy_poll_us": d.BusyPoll.Microseconds(),
		"memory_limit": d.MemoryLimit,
		"outbox_bytes": int64(e.Outbox),
		"window_bytes": int64(e.Window),
		"max_message":  int64(e.MaxMessage),
		"keepalive_ms": e.KeepAlive.Milliseconds(),
		"connect_ms":   e.Connect.Milliseconds(),
		"resume_ms":    e.Resume.Milliseconds(),
		"with":         wire.DefaultWindow, // what each lane begins with
	}, told)
	require.EqualValues(t, wire.DefaultWindow, outbox.FirstLimit)
}
