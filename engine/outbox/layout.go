package outbox

import (
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
)

// What C shares lies where capi/log.h says; its assertions have the same numbers.
// Each array here is assigned one of another length if a number is wrong.
var (
	_ [24]byte  = [unsafe.Offsetof(Slot{}.command)]byte{}
	_ [32]byte  = [unsafe.Offsetof(Slot{}.linger)]byte{}
	_ [40]byte  = [unsafe.Offsetof(Slot{}.State)]byte{}
	_ [56]byte  = [unsafe.Offsetof(Slot{}.Reason)]byte{}
	_ [60]byte  = [unsafe.Offsetof(Slot{}.Untold)]byte{}
	_ [64]byte  = [unsafe.Offsetof(Slot{}.Room)]byte{}
	_ [80]byte  = [unsafe.Offsetof(Slot{}.next)]byte{}
	_ [92]byte  = [unsafe.Offsetof(Slot{}.free)]byte{}
	_ [96]byte  = [unsafe.Offsetof(Slot{}.Held)]byte{}
	_ [120]byte = [unsafe.Offsetof(Slot{}.remains)]byte{}
	_ [128]byte = [unsafe.Offsetof(Slot{}.lanes)]byte{}
	_ [640]byte = [SlotSize]byte{}

	_ [8]byte   = [unsafe.Offsetof(lane{}.given)]byte{}
	_ [16]byte  = [unsafe.Offsetof(lane{}.done)]byte{}
	_ [24]byte  = [unsafe.Offsetof(lane{}.limit)]byte{}
	_ [28]byte  = [unsafe.Offsetof(lane{}.asked)]byte{}
	_ [32]byte  = [unsafe.Offsetof(lane{}.cut)]byte{}
	_ [64]byte  = [unsafe.Offsetof(lane{}.head)]byte{}
	_ [88]byte  = [unsafe.Offsetof(lane{}.large)]byte{}
	_ [96]byte  = [unsafe.Offsetof(lane{}.inline)]byte{}
	_ [128]byte = [unsafe.Sizeof(lane{})]byte{}

	_ [64]byte  = [unsafe.Offsetof(Bell{}.state)]byte{}
	_ [72]byte  = [unsafe.Offsetof(Bell{}.rung)]byte{}
	_ [80]byte  = [unsafe.Offsetof(Bell{}.users)]byte{}
	_ [128]byte = [unsafe.Sizeof(Bell{})]byte{}

	_ [16]byte = [unsafe.Offsetof(Budget{}.Starved)]byte{}
	_ [24]byte = [unsafe.Offsetof(Budget{}.Epoch)]byte{}
	_ [32]byte = [unsafe.Offsetof(Budget{}.granted)]byte{}
	_ [64]byte = [unsafe.Sizeof(Budget{})]byte{}

	_ [32]byte   = [unsafe.Offsetof(Root{}.blockRefs)]byte{}
	_ [64]byte   = [unsafe.Offsetof(Root{}.slotsFree)]byte{}
	_ [72]byte   = [unsafe.Offsetof(Root{}.slotsLive)]byte{}
	_ [128]byte  = [unsafe.Offsetof(Root{}.chunks)]byte{}
	_ [768]byte  = [unsafe.Offsetof(Root{}.directories)]byte{}
	_ [320]byte  = [unsafe.Sizeof(arena.Control{})]byte{}
	_ [1088]byte = [unsafe.Sizeof(Root{})]byte{}

	_ [32]byte = [unsafe.Sizeof(Reference{})]byte{}
)
