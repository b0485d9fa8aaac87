// Package main is liblyquor: the C API of include/lyquor.h. The data path is C
// (send.c, receive.c, handle.c) and never enters Go; control calls are thin C
// functions (control.c) over the exports here. Nothing in this package is protocol.
//
// Every export runs on a thread of the host, so each recovers from panics, waits
// for nothing, and keeps no pointer to the host's memory but those that the header
// says are kept.
package main
