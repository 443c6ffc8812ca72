package store

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// guard runs f and turns what bbolt does on a page that makes no sense into
// ErrCorrupt: it follows pointers out of the mapped file, or panics with a
// string. Every other panic is a mistake of ours and goes on.
func guard(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // of this goroutine only
	defer func() {
		switch r := recover().(type) {
		case nil:
		case string:
			err = fmt.Errorf("store: vault %s is damaged (%s); restore it from a backup: %w", path, r, ErrCorrupt)
		case runtime.Error:
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = fmt.Errorf("store: vault %s is damaged (a page points out of the file); restore it from a backup: %w", path, ErrCorrupt)
		default:
			panic(r)
		}
	}()
	return f()
}
