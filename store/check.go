package store

import (
	"bytes"
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
		return fmt.Errorf("store: vault %[1]s is empty; restore it from a backup, or remove it and %[1]s%[2]s to begin anew: %[3]w", path, headSuffix, ErrCorrupt)
	}
	// Meta page 1 stands one page in, and only meta page 0 says how long a page
	// is; where that is damaged too, the possible lengths are few.
	var newest *metaPage
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
	w := walk{r: r, meta: *newest, seen: map[uint64]bool{}}
	if err := w.all(); err != nil {
		return fmt.Errorf("store: vault %s is damaged (%w); restore it from a backup: %w", path, err, ErrCorrupt)
	}
	return nil
}

type metaPage struct {
	pageSize              uint32
	root, freelist, pages uint64
	txid                  uint64
}

func readMeta(r io.ReaderAt, at int64) (metaPage, bool) {
	var b [metaSize]byte
	if _, err := r.ReadAt(b[:], at+pageHeader); err != nil {
		return metaPage{}, false
	}
	le := binary.LittleEndian
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if le.Uint32(b[0:]) != metaMagic || le.Uint32(b[4:]) != metaVersion || le.Uint64(b[56:]) != sum.Sum64() {
		return metaPage{}, false
	}
	return metaPage{
		pageSize: le.Uint32(b[8:]), root: le.Uint64(b[16:]), freelist: le.Uint64(b[32:]),
		pages: le.Uint64(b[40:]), txid: le.Uint64(b[48:]),
	}, true
}

// walk follows the branch pages of the tree. bbolt follows them blindly: a page
// that points back to one above it makes it recurse until the process dies,
// which nothing catches either. Leaf pages, which are nearly all of the file,
// are not read: what is wrong in them shows when they are.
type walk struct {
	r    io.ReaderAt
	meta metaPage
	seen map[uint64]bool // pages that have their place
}

// Pages and their elements (bbolt internal/common/page.go).
const (
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	elementSize  = 16
	bucketFlag   = 0x01 // of a leaf element
	bucketHeader = 16   // root page and sequence number, before an inline page
	deepest      = 16   // levels; a vault of millions has four
	manyFree     = 0xFFFF
)

type page struct {
	flags uint16
	count int
	body  []byte // from the header on, with the pages that it flows over into
}

func (w *walk) page(id uint64) (page, error) {
	if id < 2 || id >= w.meta.pages {
		return page{}, fmt.Errorf("page %d of %d is pointed to", id, w.meta.pages)
	}
	size := int64(w.meta.pageSize)
	var h [pageHeader]byte
	if _, err := w.r.ReadAt(h[:], int64(id)*size); err != nil {
		return page{}, err
	}
	le := binary.LittleEndian
	p := page{flags: le.Uint16(h[8:]), count: int(le.Uint16(h[10:]))}
	overflow := uint64(le.Uint32(h[12:]))
	if le.Uint64(h[0:]) != id || overflow >= w.meta.pages-id {
		return page{}, fmt.Errorf("page %d says that it is page %d with %d more", id, le.Uint64(h[0:]), overflow)
	}
	if p.flags == leafPage || p.flags == branchPage {
		overflow = min(overflow, 1<<20/uint64(size)) // elements of longer pages are refused below
	}
	p.body = make([]byte, size*int64(overflow+1))
	_, err := w.r.ReadAt(p.body, int64(id)*size)
	return p, err
}

// take gives a page its place in the tree.
func (w *walk) take(id uint64) error {
	if id < 2 || id >= w.meta.pages || w.seen[id] {
		return fmt.Errorf("page %d has two places in the tree, or none in the file", id)
	}
	w.seen[id] = true
	return nil
}

func (w *walk) all() error {
	if err := w.free(); err != nil {
		return err
	}
	return w.tree(w.meta.root, 0, true)
}

// free takes the pages that are free: none of them may be in the tree.
func (w *walk) free() error {
	p, err := w.page(w.meta.freelist)
	if err != nil {
		return err
	}
	if p.flags != freelistPage {
		return fmt.Errorf("page %d is no list of free pages", w.meta.freelist)
	}
	le := binary.LittleEndian
	ids, n := p.body[pageHeader:], uint64(p.count)
	if n == manyFree {
		n, ids = le.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return fmt.Errorf("the list of free pages states %d", n)
	}
	for i := range n {
		if err := w.take(le.Uint64(ids[8*i:])); err != nil {
			return err
		}
	}
	return w.take(w.meta.freelist)
}

// tree walks the branch pages below id. The leaves of the top tree hold the
// roots of the buckets' trees.
func (w *walk) tree(id uint64, depth int, top bool) error {
	if depth > deepest {
		return errors.New("the tree is too deep")
	}
	if err := w.take(id); err != nil {
		return err
	}
	p, err := w.page(id)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if p.flags != branchPage && p.flags != leafPage {
		return fmt.Errorf("page %d of kind %#x in the tree", id, p.flags)
	}
	if pageHeader+p.count*elementSize > len(p.body) {
		return fmt.Errorf("page %d states %d elements", id, p.count)
	}
	if p.flags == leafPage {
		if top {
			return w.buckets(p, depth)
		}
		return nil
	}
	below := leafPage
	var last []byte
	for i := range p.count {
		at := pageHeader + i*elementSize
		e := p.body[at:]
		pos, size, child := uint64(le.Uint32(e[0:])), uint64(le.Uint32(e[4:])), le.Uint64(e[8:])
		if uint64(at)+pos+size > uint64(len(p.body)) {
			return fmt.Errorf("page %d: key %d lies outside", id, i)
		}
		key := e[pos : pos+size]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("page %d: key %d is out of order", id, i)
		}
		last = key
		if i == 0 { // all below one page are of one kind
			first, err := w.page(child)
			if err != nil {
				return err
			}
			below = int(first.flags)
		}
		if below == branchPage || top {
			err = w.tree(child, depth+1, top)
		} else {
			err = w.take(child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) buckets(p page, depth int) error {
	le := binary.LittleEndian
	for i := range p.count {
		at := pageHeader + i*elementSize
		e := p.body[at:]
		flags, pos, ksize, vsize := le.Uint32(e[0:]), uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
		if flags&bucketFlag == 0 || vsize < bucketHeader || uint64(at)+pos+ksize+vsize > uint64(len(p.body)) {
			return fmt.Errorf("bucket %d makes no sense", i)
		}
		value := e[pos+ksize:][:vsize]
		root := le.Uint64(value)
		if root == 0 { // the bucket's only page is inline
			if err := inline(value[bucketHeader:]); err != nil {
				return fmt.Errorf("bucket %d: %w", i, err)
			}
			continue
		}
		if err := w.tree(root, depth+1, false); err != nil {
			return err
		}
	}
	return nil
}

// inline looks at the page of a small bucket, which bbolt may copy to the heap:
// what points out of it there reads the memory of others and faults nowhere.
func inline(b []byte) error {
	le := binary.LittleEndian
	if len(b) < pageHeader {
		return fmt.Errorf("its page has %d bytes", len(b))
	}
	count := int(le.Uint16(b[10:]))
	if le.Uint16(b[8:]) != leafPage || pageHeader+count*elementSize > len(b) {
		return fmt.Errorf("its page of kind %#x states %d elements", le.Uint16(b[8:]), count)
	}
	for i := range count {
		at := pageHeader + i*elementSize
		e := b[at:]
		pos, ksize, vsize := uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
		if uint64(at)+pos+ksize+vsize > uint64(len(b)) {
			return fmt.Errorf("element %d of its page lies outside", i)
		}
	}
	return nil
}
