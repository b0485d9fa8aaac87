package wire

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/lyquor/lyquor/engine/wire/fb"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/require"
)

// The verifier's descriptions are written by hand, and the accessors that rely on
// them are generated: these tests compare the two by reflection.

func TestShapesAreTheGeneratedAccessors(t *testing.T) {
	for accessor, shape := range map[any]*table{
		&fb.Hello{}: &helloTable, &fb.Ping{}: &pingTable, &fb.Pong{}: &pongTable, &fb.GoAway{}: &goAwayTable,
		&fb.UpDetail{}: &upTable, &fb.ClosedDetail{}: &closedTable, &fb.AcceptedDetail{}: &acceptedTable,
		&fb.RestartedDetail{}: &restartedTable,
		&fb.WorkerSnapshot{}:  &workerTable, &fb.EndpointSnapshot{}: &endpointTable, &fb.Snapshot{}: &snapshotTable,
	} {
		typ := reflect.TypeOf(accessor)
		require.Equal(t, typ.Elem().Name(), shape.name)
		for _, f := range shape.fields {
			want := shapeOf(t, typ, f.name)
			require.Equal(t, want.shape, f.shape, "%s.%s", shape.name, f.name)
			require.Equal(t, want.size, f.size, "%s.%s", shape.name, f.name)
			require.Equal(t, want.align, f.align, "%s.%s", shape.name, f.name)
			if want.child != nil {
				require.Equal(t, want.child.name, f.child.name, "%s.%s", shape.name, f.name)
			}
		}
	}
}

// shapeOf derives a field's shape from the accessors of its table.
func shapeOf(t *testing.T, table reflect.Type, name string) field {
	get, ok := table.MethodByName(accessorName(name))
	require.True(t, ok, "%v has no field %s", table, name)
	_, isVector := table.MethodByName(accessorName(name) + "Length")
	last := get.Type.In(get.Type.NumIn() - 1) // the receiver if there is no argument
	switch {
	case isVector && get.Type.NumIn() == 2: // (index) scalar
		size := int(get.Type.Out(0).Size())
		return field{shape: vector, size: size, align: size}
	case isVector: // (*element, index) bool
		return elementShape(get.Type.In(1))
	case get.Type.Out(0) == reflect.TypeFor[[]byte]():
		return field{shape: str}
	case get.Type.NumIn() == 2: // (*struct) *struct
		size, align := structSize(last)
		return field{shape: inline, size: size, align: align}
	}
	size := int(get.Type.Out(0).Size())
	return field{shape: inline, size: size, align: size}
}

func elementShape(element reflect.Type) field {
	if tab, _ := element.Elem().FieldByName("_tab"); tab.Type == reflect.TypeFor[flatbuffers.Table]() {
		return field{shape: children, child: &table{name: element.Elem().Name()}}
	}
	size, align := structSize(element)
	return field{shape: vector, size: size, align: align}
}

// structSize adds up the members of a struct, which here are all of one size.
func structSize(s reflect.Type) (size, align int) {
	for i := range s.NumMethod() {
		m := s.Method(i)
		if m.Type.NumIn() == 1 && m.Name != "Table" {
			align = int(m.Type.Out(0).Size())
			size += align
		}
	}
	return size, align
}

// accessorName turns max_message into MaxMessage.
func accessorName(field string) string {
	var name strings.Builder
	for _, word := range strings.Split(field, "_") {
		name.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return name.String()
}

// TestShapesAreComplete compares the number of fields with what the generated code
// writes when every field is there.
func TestShapesAreComplete(t *testing.T) {
	control := func(name string) []byte { return load(t, name)[HeaderSize:] }
	snapshot := load(t, "driver-snapshot")
	var root fb.Snapshot
	root.Init(snapshot, flatbuffers.GetUOffsetT(snapshot))
	var worker fb.WorkerSnapshot
	require.True(t, root.Workers(&worker, 0))
	var endpoint fb.EndpointSnapshot
	require.True(t, root.Endpoints(&endpoint, 0))
	for _, c := range []struct {
		b     []byte
		pos   flatbuffers.UOffsetT
		shape *table
	}{
		{control("hello-resume"), 0, &helloTable}, {control("ping"), 0, &pingTable}, {control("pong"), 0, &pongTable},
		{control("goaway"), 0, &goAwayTable}, {load(t, "up-detail"), 0, &upTable},
		{load(t, "closed-detail"), 0, &closedTable}, {load(t, "accepted-detail"), 0, &acceptedTable},
		{load(t, "restarted-detail"), 0, &restartedTable},
		{snapshot, 0, &snapshotTable},
		{snapshot, worker.Table().Pos, &workerTable}, {snapshot, endpoint.Table().Pos, &endpointTable},
	} {
		if c.pos == 0 {
			c.pos = flatbuffers.GetUOffsetT(c.b)
		}
		vtable := int(c.pos) - int(flatbuffers.GetSOffsetT(c.b[c.pos:]))
		entries := (int(binary.LittleEndian.Uint16(c.b[vtable:])) - vtableHead) / vtableEntry
		require.Equal(t, entries, len(c.shape.fields), c.shape.name)
	}
}
