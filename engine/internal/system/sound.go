//go:build !failing

package system

import "syscall"

// Error returns what the system call of that name is to fail with; 0: it is to be made.
func Error(string) syscall.Errno { return 0 }
