package client

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Keystore signs with a phone's key. On a phone it is the hardware's; a Go
// program has a File.
type Keystore interface {
	Public() Key
	Sign(Request) (Signature, error)
}

// Memory is what a phone must not forget between requests.
type Memory interface {
	// Next returns a counter that was never used, above acked, and remembers
	// it before it is used.
	Next(acked uint64) (uint64, error)
	// Acked remembers the highest counter that the device said it accepted.
	Acked(counter uint64) error
	// Highest is what Acked remembers.
	Highest() uint64
}

// Identity is a phone made of a file: its key, the device that it is paired
// with, and its counters. It is no more secret than the file is; a real phone
// keeps the key in hardware.
type Identity struct {
	Addr string // of the device
	Pin  Pin
	ID   string // "" until it is paired
	User string

	path   string
	key    *ecdsa.PrivateKey
	public Key
	mu     sync.Mutex
	used   uint64 // none above it was used
	acked  uint64
}

// identityFile is how it rests.
type identityFile struct {
	Addr    string `json:"addr"`
	Pin     string `json:"pin"`
	ID      string `json:"id"`
	User    string `json:"user"`
	Private []byte `json:"private"`
	Counter uint64 `json:"counter"`
	Acked   uint64 `json:"acked"`
}

// NewIdentity makes a fresh key that will rest in the file; "" keeps it in
// memory. A file that is there is not overwritten.
func NewIdentity(path string) (*Identity, error) {
	if path != "" {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("phone: %s is there already; revoke that phone and remove the file, or name another file", path)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	i := &Identity{path: path, key: key}
	i.public, err = PublicKey(key)
	return i, err
}

// OpenIdentity reads the file of a phone.
func OpenIdentity(path string) (*Identity, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("phone: there is no phone in %s; pair one first, or name another file: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("phone: %s has mode %04o, others can read the key; revoke it and pair anew", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	defer clear(b)
	i, err := parseIdentity(b)
	if err != nil {
		return nil, fmt.Errorf("phone: %s is no identity: %w", path, err)
	}
	i.path = path
	return i, nil
}

// parseIdentity reads what save writes.
func parseIdentity(b []byte) (*Identity, error) {
	var f identityFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	defer clear(f.Private)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows it")
	}
	i := &Identity{Addr: f.Addr, ID: f.ID, User: f.User, used: f.Counter, acked: f.Acked}
	i.key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), f.Private)
	if err == nil {
		err = errors.Join(checkAddr(f.Addr), decode(i.Pin[:], f.Pin, "pin"))
	}
	if err == nil && (f.Counter > MaxCounter || f.Acked > f.Counter) {
		err = errors.New("its counters are impossible")
	}
	if err == nil {
		i.public, err = PublicKey(i.key)
	}
	if err == nil && i.ID != i.public.ID() {
		err = errors.New("its id is another key's")
	}
	if err != nil {
		return nil, err
	}
	return i, nil
}

// Public is the phone's key.
func (i *Identity) Public() Key { return i.public }

// Sign signs a request.
func (i *Identity) Sign(r Request) (Signature, error) { return Sign(i.key, r) }

// Next implements Memory. Programs that use the same file at the same time share
// its counters: each is written before it is used.
func (i *Identity) Next(acked uint64) (uint64, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	unlock, err := i.share()
	if err != nil {
		return 0, err
	}
	defer unlock()
	next := max(i.used, i.acked, acked) + 1
	if next > MaxCounter {
		return 0, errors.New("phone: the counter is used up; pair anew")
	}
	i.used = next
	return next, i.save()
}

// share locks the file, where the phone rests in one, and learns what other
// programs did with its counters.
func (i *Identity) share() (unlock func(), err error) {
	if i.path == "" || i.ID == "" {
		return func() {}, nil
	}
	for {
		f, err := os.Open(i.path)
		if errors.Is(err, fs.ErrNotExist) {
			return func() {}, nil // not saved yet
		}
		if err != nil {
			return nil, fmt.Errorf("phone: %w", err)
		}
		if err := lock(f); err != nil {
			return nil, errors.Join(fmt.Errorf("phone: %s: %w", i.path, err), f.Close())
		}
		mine, err := f.Stat()
		now, e := os.Stat(i.path)
		if err = errors.Join(err, e); err != nil {
			return nil, errors.Join(fmt.Errorf("phone: %w", err), f.Close())
		}
		if !os.SameFile(mine, now) {
			f.Close() // another program has replaced it meanwhile
			continue
		}
		b, err := io.ReadAll(f)
		if err == nil {
			var other *Identity
			if other, err = parseIdentity(b); err == nil && other.ID != i.ID {
				err = errors.New("it is another phone's now")
			}
			if err == nil {
				i.used, i.acked = max(i.used, other.used), max(i.acked, other.acked)
			}
		}
		clear(b)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("phone: %s: %w", i.path, err), f.Close())
		}
		return func() { f.Close() }, nil
	}
}

// Acked implements Memory.
func (i *Identity) Acked(counter uint64) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if counter <= i.acked {
		return nil
	}
	// Written with the next counter or Save: after a crash a lower one is
	// remembered, which finds fewer rollbacks and accuses nobody.
	i.acked = min(counter, MaxCounter)
	return nil
}

// Highest implements Memory.
func (i *Identity) Highest() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.acked
}

// Save writes the file: whole or not at all, readable by its owner alone. Counters
// never go back in it.
func (i *Identity) Save() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	unlock, err := i.share()
	if err != nil {
		return err
	}
	defer unlock()
	return i.save()
}

// discard forgets a pairing that the device did not make.
func (i *Identity) discard() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ID = ""
	if i.path == "" {
		return nil
	}
	return os.Remove(i.path)
}

// text is what the file holds; the caller wipes it.
func (i *Identity) text() ([]byte, error) {
	private, err := i.key.Bytes()
	if err != nil {
		return nil, err
	}
	defer clear(private)
	return json.MarshalIndent(identityFile{i.Addr, i.Pin.String(), i.ID, i.User, private, max(i.used, i.acked), i.acked}, "", "  ")
}

func (i *Identity) save() (err error) {
	if i.path == "" || i.ID == "" {
		return nil // nothing to come back to before it is paired
	}
	b, err := i.text()
	if err != nil {
		return fmt.Errorf("phone: %w", err)
	}
	defer clear(b)
	tmp, err := os.CreateTemp(filepath.Dir(i.path), ".phone-*") // mode 0600
	if err != nil {
		return fmt.Errorf("phone: %w", err)
	}
	_, err = io.Copy(tmp, bytes.NewReader(b))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), i.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("phone: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}
