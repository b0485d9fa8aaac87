package logstress

import (
	"reflect"
	"strings"
	"testing"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// renamed lists the fields whose name in Go is not that in C in other letters.
var renamed = map[string]string{
	"slot.queue_first": "Queue.First", "slot.queue_last": "Queue.Last", "slot.queue_ready": "Queue.Ready",
	"slot.queue_next": "Queue.Next", "lane.inline_pieces": "inline",
}

// constants are those that both sides name.
var constants = map[string]uint64{
	"LANES": wire.Lanes, "INLINE_PIECES": 8, "MAX_INLINE": outbox.MaxInline, "FRAME_MSG": uint64(wire.Msg),
	"KIND_DRIVER": uint64(outbox.KindDriver), "KIND_LISTENER": uint64(outbox.KindListener),
	"KIND_ENDPOINT": uint64(outbox.KindEndpoint), "KIND_INBOX": uint64(outbox.KindInbox),
	"KIND_TIMER":   uint64(outbox.KindTimer),
	"STATE_UP":     uint64(outbox.StateUp),
	"STATE_CLOSED": uint64(outbox.StateClosed), "STATE_QUIET": uint64(outbox.StateQuiet),
	"STATE_SLEEPS": uint64(outbox.StateSleeps), "STATE_PARTED": uint64(outbox.StateParted),
	"COMMAND_CLOSE": uint64(outbox.CommandClose), "COMMAND_END": uint64(outbox.CommandEnd),
	"COMMAND_RESUME":  uint64(outbox.CommandResume),
	"COMMAND_QUIESCE": uint64(outbox.CommandQuiesce), "COMMAND_FLUSH": uint64(outbox.CommandFlush),
	"WANT_EVENT": uint64(outbox.WantEvent), "WANT_WAKE": uint64(outbox.WantWake),
	"WANT_ACK": uint64(outbox.WantAck), "NUMBER_BITS": outbox.NumberBits, "CUT_SHIFT": outbox.CutShift,
	"RELEASE_NOTHING": outbox.ReleaseNothing, "RELEASE_CHUNK": outbox.ReleaseChunk,
	"RELEASE_BLOCK": outbox.ReleaseBlock, "RELEASE_HELD": outbox.ReleaseHeld, "RELEASE_FREE": outbox.ReleaseFree,
	"RELEASE_CALL": outbox.ReleaseCall, "MAX_GENERATION": 1<<24 - 1,
}

// TestLayout compares C's numbers with Go's: each type's size, and each field's
// offset. No field of either side is left out.
func TestLayout(t *testing.T) {
	slot := reflect.TypeFor[outbox.Slot]()
	lanes, _ := slot.FieldByName("lanes")
	types := map[string]reflect.Type{
		"root": reflect.TypeFor[outbox.Root](), "pool": reflect.TypeFor[arena.Control](),
		"bell": reflect.TypeFor[outbox.Bell](), "budget": reflect.TypeFor[outbox.Budget](), "slot": slot,
		"lane": lanes.Type.Elem(), "reference": reflect.TypeFor[outbox.Reference](),
	}
	seen := map[string]bool{}
	for name, number := range Layout() {
		structure, field, isField := strings.Cut(name, ".")
		if value, ok := constants[name]; ok {
			require.Equal(t, value, uint64(number), name)
			continue
		}
		if !isField {
			require.Equal(t, types[name].Size(), number, name)
			continue
		}
		offset, goName, ok := offsetOf(types[structure], name, field)
		require.True(t, ok, "Go has no %s", name)
		require.Equal(t, offset, number, name)
		seen[structure+"."+goName] = true
	}
	for name, structure := range types {
		for _, f := range reflect.VisibleFields(structure) {
			require.True(t, f.Name == "_" || seen[name+"."+f.Name], "C has no %s.%s", name, f.Name)
		}
	}
}

// offsetOf finds the field that C calls by name. It also returns the name of the
// outermost field in Go.
func offsetOf(structure reflect.Type, name, field string) (offset uintptr, goName string, ok bool) {
	path := renamed[name]
	if path == "" {
		path = strings.ReplaceAll(field, "_", "")
	}
	for _, part := range strings.Split(path, ".") {
		f, found := structure.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, part) })
		if !found {
			return 0, "", false
		}
		if goName == "" {
			goName = f.Name
		}
		offset += f.Offset
		structure = f.Type
	}
	return offset, goName, true
}
