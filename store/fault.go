package store

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// guard runs f and turns what bbolt does on a page that makes no sense into
// ErrCorrupt: it follows pointers out of the mapped file, slices beyond a page,
// or panics with a string. Every other panic is a mistake of ours and goes on.
func guard(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // of this goroutine only
	defer func() {
		switch r := recover().(type) {
		case nil:
		case string:
			err = fmt.Errorf("store: vault %s is damaged (%s); restore it from a backup: %w", path, r, ErrCorrupt)
		case runtime.Error:
			if _, fault := r.(interface{ Addr() uintptr }); !fault && !inBolt() {
				panic(r)
			}
			err = fmt.Errorf("store: vault %s is damaged (a page points out of the file); restore it from a backup: %w", path, ErrCorrupt)
		default:
			panic(r)
		}
	}()
	return f()
}

// inBolt tells whether the panic that is being recovered began in bbolt.
func inBolt() bool {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return strings.HasPrefix(f.Function, "go.etcd.io/bbolt")
		}
		if !more {
			return false
		}
	}
}
