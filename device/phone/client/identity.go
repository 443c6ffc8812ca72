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

	path    string
	key     *ecdsa.PrivateKey
	public  Key
	mu      sync.Mutex
	counter uint64 // none above it was used
	used    uint64
	acked   uint64
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

// counterStep is how many counters are reserved by one write of the file.
const counterStep = 256

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
	i := &Identity{Addr: f.Addr, ID: f.ID, User: f.User, counter: f.Counter, used: f.Counter, acked: f.Acked}
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

// Next implements Memory; counters are reserved in steps, so that a crash
// wastes some and repeats none.
func (i *Identity) Next(acked uint64) (uint64, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := max(i.used, acked) + 1
	if next > MaxCounter {
		return 0, errors.New("phone: the counter is used up; pair anew")
	}
	if next > i.counter {
		i.counter = min(next+counterStep, MaxCounter)
		if err := i.save(); err != nil {
			return 0, err
		}
	}
	i.used = next
	return next, nil
}

// Acked implements Memory.
func (i *Identity) Acked(counter uint64) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if counter <= i.acked {
		return nil
	}
	// Written with the next reservation or Save: after a crash a lower one is
	// remembered, which finds fewer rollbacks and accuses nobody.
	i.acked = min(counter, MaxCounter)
	i.counter = max(i.counter, i.acked)
	return nil
}

// Highest implements Memory.
func (i *Identity) Highest() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.acked
}

// Save writes the file: whole or not at all, readable by its owner alone. It
// gives back counters that were reserved and not used: whoever goes on with a
// copy of the file uses those that the other does, and is found out.
func (i *Identity) Save() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.counter = max(i.used, i.acked)
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
	return json.MarshalIndent(identityFile{i.Addr, i.Pin.String(), i.ID, i.User, private, i.counter, i.acked}, "", "  ")
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
