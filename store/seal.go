package store

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"syscall"
	"unsafe"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/unix"
)

// KeySize is the size of the device key, of the vault's root key and of a
// person's data key, in bytes.
const KeySize = chacha20poly1305.KeySize

// private refuses what others could read or replace.
func private(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no plain file (%v): %w", path, info.Mode(), ErrMode)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, others can open it; run `chmod 600 %s` and think about who had access: %w", path, perm, path, ErrMode)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d, not to uid %d that runs this; run it as that account: sudo -u '#%[2]d': %[4]w", path, st.Uid, os.Geteuid(), ErrMode)
	}
	return nil
}

// ReadPrivate reads a secret's file, and refuses one that others than root could
// read or replace (ErrMode). It takes a credential as systemd gives it to a
// unit: root's, with an access list that names this account.
func ReadPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = private(path, info)
	}
	if err != nil && !credential(f, info) {
		return nil, fmt.Errorf("store: %w", err)
	}
	return io.ReadAll(f)
}

// credential tells whether a file is root's or ours, for nobody else to write,
// and for nobody but us to read.
func credential(f *os.File, info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Uid != 0 && int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o027 != 0 {
		return false
	}
	if info.Mode().Perm()&0o040 == 0 {
		return true
	}
	list := make([]byte, 1<<10)
	n, err := unix.Fgetxattr(int(f.Fd()), "system.posix_acl_access", list)
	return err == nil && oursAlone(list[:n], os.Geteuid())
}

// Entries of an access list (Linux include/uapi/linux/posix_acl.h,
// posix_acl_xattr.h): a version, then tag, permissions and id of each.
const (
	aclVersion  = 2
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

// oursAlone tells whether an access list gives nothing to anybody but the
// file's owner and that user, to whom it gives no more than to read.
func oursAlone(list []byte, uid int) bool {
	le := binary.LittleEndian
	if len(list) < 4 || (len(list)-4)%8 != 0 || le.Uint32(list) != aclVersion {
		return false
	}
	for e := list[4:]; len(e) > 0; e = e[8:] {
		tag, perm, id := le.Uint16(e), le.Uint16(e[2:]), le.Uint32(e[4:])
		switch tag {
		case aclUserObj, aclMask:
		case aclUser:
			if perm&^4 != 0 || perm != 0 && id != uint32(uid) {
				return false
			}
		case aclGroupObj, aclGroup, aclOther:
			if perm != 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func newKey() []byte {
	key := make([]byte, KeySize)
	rand.Read(key) // never fails (crypto/rand)
	return key
}

// newAEAD panics only on a key of the wrong size, which its callers rule out.
func newAEAD(key []byte) cipher.AEAD {
	a, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic(err)
	}
	return a
}

// wipe overwrites the key that an AEAD of newAEAD keeps. The library has no way
// to, so this goes to the one field of its struct; TestKeysAreWiped finds a release
// that keeps it elsewhere.
func wipe(a cipher.AEAD) {
	key := reflect.ValueOf(a).Elem().Field(0)
	clear(unsafe.Slice((*byte)(unsafe.Pointer(key.UnsafeAddr())), key.Len()))
}

// seal returns nonce and ciphertext of a value that stands under key in the
// bucket.
func seal(a cipher.AEAD, bucket, key, plain []byte) []byte {
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(plain)+a.Overhead())
	rand.Read(nonce)
	return a.Seal(nonce, nonce, plain, place(bucket, key))
}

// Bounds of a place and of a sealed record, in bytes, that hold for everything
// that seal was ever given.
const (
	maxKey    = 1 << 10
	maxSealed = 2*MaxTemplate + 4<<10 // JSON makes a template's bytes longer by a third
	maxGone   = 16 << 20              // of the list of who was forgotten: 19 bytes each

	leastSealed = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead // of nothing
)

// largest is how many bytes the record that stands there may have, sealed.
func largest(bucket, key []byte) int {
	if bytes.Equal(bucket, bucketMeta) && bytes.Equal(key, keyGone) {
		return maxGone
	}
	return maxSealed
}

// unseal opens what seal made for the same place.
func unseal(a cipher.AEAD, bucket, key, sealed []byte) ([]byte, error) {
	n := a.NonceSize()
	// A damaged page states lengths of gigabytes as readily as of bytes.
	if len(key) > maxKey || len(sealed) < n+a.Overhead() || len(sealed) > largest(bucket, key) {
		return nil, fmt.Errorf("store: %s/%.32x of %d bytes is no sealed record: %w", bucket, key, len(sealed), ErrCorrupt)
	}
	plain, err := a.Open(nil, sealed[:n], sealed[n:], place(bucket, key))
	if err != nil {
		return nil, fmt.Errorf("store: %s/%.40q does not open under its key; it was damaged or moved: %w", bucket, key, ErrCorrupt)
	}
	return plain, nil
}

// place is the associated data: the bucket's name is never empty and holds no
// zero byte, so two places never look alike.
func place(bucket, key []byte) []byte {
	return append(append(append([]byte("faceprint/1\x00"), bucket...), 0), key...)
}
