package main

/*
#include "bridge.h"
*/
import "C"

import (
	"fmt"
	"sync"
	"unsafe"
)

// logger is where log lines go: nowhere until lyq_set_logger.
var logger struct {
	sync.Mutex
	fn    C.lyq_log_fn
	ctx   unsafe.Pointer
	drop  unsafe.Pointer
	level C.int
}

//export lyqgo_set_logger
func lyqgo_set_logger(fn C.lyq_log_fn, ctx unsafe.Pointer, drop C.lyq_fn, level C.int) (result C.int) {
	defer guard(&result)
	next, err := newDrop(drop, ctx)
	if err != nil {
		return fail(err)
	}
	logger.Lock()
	old := logger.drop
	logger.fn, logger.ctx, logger.drop, logger.level = fn, ctx, next, level
	logger.Unlock()
	C.lyqi_drop_unref(old)
	return 0
}

// logText gives a line to the program. The function runs outside the lock, so that
// it may set another; its context is held meanwhile.
func logText(level int, id, text string) {
	logger.Lock()
	fn, ctx, drop := logger.fn, logger.ctx, logger.drop
	if fn == nil || C.int(level) > logger.level {
		logger.Unlock()
		return
	}
	C.lyqi_drop_ref(drop)
	logger.Unlock()
	C.lyqi_log(fn, ctx, C.int(level), cString(id), cString(text))
	C.lyqi_drop_unref(drop)
}

func logf(level int, id, format string, args ...any) {
	logText(level, id, fmt.Sprintf(format, args...))
}
