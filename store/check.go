package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
)

// bbolt's file format (bbolt internal/common/meta.go): two meta pages, each a
// 16-byte page header and then these fields, in the writer's byte order, which
// is little-endian on everything that this runs on.
const (
	pageHeader  = 16
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = 64
	leastPage   = 1024
	mostPage    = 64 << 10
)

// checkFile looks at a vault before bbolt maps it: bbolt trusts the length
// that the meta page states and dies of SIGBUS, which nothing catches, where
// the file is shorter. A file that is not there is fine: it will be made.
func checkFile(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := private(path, info); err != nil {
		return fmt.Errorf("store: vault: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	return checkPages(path, f, info.Size())
}

func checkPages(path string, r io.ReaderAt, size int64) error {
	if size == 0 {
		return fmt.Errorf("store: vault %s is empty; restore it from a backup, or remove it to begin anew: %w", path, ErrCorrupt)
	}
	// Meta page 1 stands one page in, and only meta page 0 says how long a page
	// is; where that is damaged too, the possible lengths are few.
	var newest *meta
	for page := int64(leastPage); page <= mostPage; page *= 2 {
		for i := range int64(2) {
			m, ok := readMeta(r, i*page)
			if ok && int64(m.pageSize) == page && (newest == nil || m.txid > newest.txid) {
				newest = &m
			}
		}
	}
	if newest == nil {
		return fmt.Errorf("store: %s is no vault, or both its meta pages are damaged; restore it from a backup: %w", path, ErrCorrupt)
	}
	if newest.pages > uint64(size)/uint64(newest.pageSize) {
		return fmt.Errorf("store: vault %s was cut short: %d pages of %d bytes are stated, the file has %d bytes; restore it from a backup: %w",
			path, newest.pages, newest.pageSize, size, ErrCorrupt)
	}
	return nil
}

type meta struct {
	pageSize    uint32
	pages, txid uint64
}

func readMeta(r io.ReaderAt, at int64) (meta, bool) {
	var b [metaSize]byte
	if _, err := r.ReadAt(b[:], at+pageHeader); err != nil {
		return meta{}, false
	}
	le := binary.LittleEndian
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if le.Uint32(b[0:]) != metaMagic || le.Uint32(b[4:]) != metaVersion || le.Uint64(b[56:]) != sum.Sum64() {
		return meta{}, false
	}
	return meta{pageSize: le.Uint32(b[8:]), pages: le.Uint64(b[40:]), txid: le.Uint64(b[48:])}, true
}
