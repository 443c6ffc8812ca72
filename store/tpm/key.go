// Package tpm keeps the vault's device key in a TPM 2.0 (TCG TPM 2.0 Library,
// revision 1.59), such as the HATs for a Raspberry Pi.
//
// The key is a sealed object under the storage root key. The TPM gives it out
// only while
//
//   - a counter of its own, the epoch, has the value that the object names: the
//     key that was replaced is lost, also to whoever kept its file,
//   - the chosen PCRs have the values that they had when it was sealed, where
//     any were chosen,
//   - the technician's PIN is given, where one was set. Wrong PINs count towards
//     the TPM's own lock-out (three by default with libtpms, 32 with most chips),
//     and so does every power cut after a PIN was used: the chip cannot tell it
//     from somebody who tries to hide a wrong one.
//
// A second counter counts the vault's starts, which finds an old copy of the
// whole card. On the wire between processor and TPM the key is encrypted with a
// key that is agreed upon for each call; that stops who listens, not who stands
// between from the beginning.
//
// The owner's hierarchy must have no password. A resource manager is expected
// (/dev/tpmrm0).
package tpm

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/faceprint/faceprint/store"
)

// NV indexes of the two counters, among those that are the owner's to give
// (TCG Registry of Reserved TPM 2.0 Handles).
const (
	epochIndex  = tpm2.TPMHandle(0x018FACE0)
	startsIndex = tpm2.TPMHandle(0x018FACE1)
)

// Key is a device key in a TPM: a store.KeySource, Rotator and Counter.
type Key struct {
	Device string // character device, or unix socket of a software TPM
	File   string // of the sealed object; nothing outside the TPM can open it
	PCRs   []uint // of the SHA-256 bank, 0 to 23; none means that any system may open it
	// PIN returns the technician's, nil where none is set.
	PIN func() ([]byte, error)
}

// String says what it protects against.
func (k Key) String() string {
	s := fmt.Sprintf("key in the TPM %s", k.Device)
	if len(k.PCRs) > 0 {
		s += fmt.Sprintf(", bound to PCR %s", strings.Trim(fmt.Sprint(k.PCRs), "[]"))
	}
	if k.PIN != nil {
		s += ", with a PIN"
	}
	s += ": a thief with the card alone cannot read the templates"
	switch {
	case k.PIN != nil:
	case len(k.PCRs) > 0:
		s += "; one with the whole device can, if the system that started is not measured or can be broken into"
	default:
		s += "; one with the whole device can"
	}
	return s
}

// sealed is the file's content.
type sealed struct {
	Public  []byte `json:"public"`
	Private []byte `json:"private"`
	Epoch   uint64 `json:"epoch"`
	PCRs    []uint `json:"pcrs,omitempty"`
	PIN     bool   `json:"pin,omitempty"`
	ID      []byte `json:"id,omitempty"` // store.KeyID
}

// maxFile bounds the file, in bytes; it has about 600.
const maxFile = 8 << 10

func parse(b []byte) (sealed, error) {
	var s sealed
	if len(b) > maxFile {
		return s, fmt.Errorf("it has %d bytes: %w", len(b), store.ErrCorrupt)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("%w: %w", err, store.ErrCorrupt)
	}
	again, err := json.Marshal(s)
	if err != nil || !bytes.Equal(again, b) || len(s.Public) == 0 || len(s.Private) == 0 || s.Epoch == 0 || checkPCRs(s.PCRs) != nil {
		return s, fmt.Errorf("it is not what was written: %w", store.ErrCorrupt)
	}
	return s, nil
}

func checkPCRs(pcrs []uint) error {
	for i, p := range pcrs {
		if p > 23 || i > 0 && p <= pcrs[i-1] {
			return fmt.Errorf("tpm: PCRs %v: 0 to 23, in ascending order: %w", pcrs, store.ErrInvalid)
		}
	}
	return nil
}

func (k Key) next() string { return k.File + ".next" }

// Key unseals the key in use.
func (k Key) Key() ([]byte, error) {
	s, err := read(k.File)
	if err != nil {
		return nil, err
	}
	var key []byte
	return key, k.with(func(t *chip) (err error) { key, err = t.unseal(s); return err })
}

// Make seals a fresh key.
func (k Key) Make() ([]byte, error) {
	if _, err := os.Lstat(k.File); err == nil {
		return nil, fmt.Errorf("tpm: there is a sealed key %s already: %w", k.File, store.ErrExists)
	}
	return k.seal(k.File, 0)
}

// Prepare seals a fresh key for the next epoch.
func (k Key) Prepare() ([]byte, error) { return k.seal(k.next(), 1) }

func (k Key) seal(file string, ahead uint64) ([]byte, error) {
	if err := checkPCRs(k.PCRs); err != nil {
		return nil, err
	}
	key := make([]byte, store.KeySize)
	rand.Read(key)
	err := k.with(func(t *chip) error {
		epoch, err := t.counter(epochIndex)
		if err != nil {
			return err
		}
		s, err := t.seal(key, epoch.value+ahead)
		if err != nil {
			return err
		}
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return writeFile(file, b)
	})
	if err != nil {
		clear(key)
		return nil, err
	}
	return key, nil
}

// Prepared moves the epoch on, where that is still to be done, and unseals the
// prepared key, where that is the one named. The epoch stays where the key in
// use does not open either: then it is the TPM, the PCRs or the PIN that is
// wrong.
func (k Key) Prepared(id []byte) ([]byte, error) {
	s, err := read(k.next())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(s.ID, id) {
		return nil, fmt.Errorf("tpm: the vault is not sealed with the key that was prepared in %s: %w: %w", k.next(), store.ErrKey, store.ErrNotFound)
	}
	var key []byte
	return key, k.with(func(t *chip) error {
		epoch, err := t.counter(epochIndex)
		if err != nil {
			return err
		}
		if epoch.value+1 == s.Epoch {
			old, err := read(k.File)
			if err == nil {
				var useless []byte
				useless, err = t.unseal(old)
				clear(useless)
			}
			if err != nil {
				return err
			}
			if err := t.advance(epochIndex); err != nil {
				return err
			}
		}
		key, err = t.unseal(s)
		return err
	})
}

// IsPrepared looks at what its file is called by, and not into the TPM.
func (k Key) IsPrepared(id []byte) (bool, error) {
	s, err := read(k.next())
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && bytes.Equal(s.ID, id), err
}

// Promote moves the epoch on, which makes the key in use useless, and gives the
// prepared one its name.
func (k Key) Promote() error {
	s, err := read(k.next())
	if err != nil {
		return err
	}
	err = k.with(func(t *chip) error {
		epoch, err := t.counter(epochIndex)
		if err == nil && epoch.value+1 == s.Epoch {
			err = t.advance(epochIndex)
		}
		return err
	})
	if err == nil {
		err = os.Rename(k.next(), k.File)
	}
	if err == nil {
		err = syncDir(filepath.Dir(k.File))
	}
	if err != nil {
		return fmt.Errorf("tpm: %w: %w", store.ErrKey, err)
	}
	return nil
}

// Destroy moves the epoch on and removes the file, after the vault was moved to
// another key.
func (k Key) Destroy() error {
	err := k.with(func(t *chip) error {
		_, err := t.counter(epochIndex)
		if err == nil {
			err = t.advance(epochIndex)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := errors.Join(os.Remove(k.File), syncDir(filepath.Dir(k.File))); err != nil {
		return fmt.Errorf("tpm: %w: %w", store.ErrKey, err)
	}
	return nil
}

// Count reads how many starts were counted.
func (k Key) Count() (n uint64, err error) {
	return n, k.with(func(t *chip) error {
		c, err := t.counter(startsIndex)
		n = c.value
		return err
	})
}

// Advance counts one.
func (k Key) Advance() error {
	return k.with(func(t *chip) error {
		if _, err := t.counter(startsIndex); err != nil {
			return err
		}
		return t.advance(startsIndex)
	})
}

func read(file string) (sealed, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return sealed{}, fmt.Errorf("tpm: there is no sealed key %s; restore it from where you keep it: %w: %w", file, store.ErrKey, store.ErrNotFound)
	}
	if err != nil {
		return sealed{}, fmt.Errorf("tpm: %w: %w", store.ErrKey, err)
	}
	s, err := parse(b)
	if err != nil {
		// What a decoder says of it may hold bytes of a key of another kind.
		return s, fmt.Errorf("tpm: %s is no key that was sealed by a TPM; where it is the key file of before, give store.key_file another name: %w: %w", file, store.ErrKey, store.ErrCorrupt)
	}
	return s, nil
}

func writeFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tpm-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// chip is an open TPM with its storage root key loaded.
type chip struct {
	tpm transport.TPM
	key Key
	pin []byte
	srk *tpm2.CreatePrimaryResponse
	pub tpm2.TPMTPublic
}

// with opens the TPM for one piece of work: nothing is kept in it between.
func (k Key) with(f func(*chip) error) (err error) {
	wire, err := open(k.Device)
	if err != nil {
		return fmt.Errorf("tpm: %s: %w: %w; is the TPM enabled (dtoverlay), and may uid %d open it (group tss)?", k.Device, store.ErrKey, err, os.Geteuid())
	}
	defer func() {
		if e := wire.Close(); err == nil {
			err = e
		}
		if err != nil && !errors.Is(err, store.ErrKey) {
			err = fmt.Errorf("tpm: %s: %w: %w", k.Device, store.ErrKey, err)
		}
	}()
	t := &chip{tpm: wire, key: k}
	if k.PIN != nil {
		if t.pin, err = k.PIN(); err != nil {
			return fmt.Errorf("PIN: %w", err)
		}
		defer clear(t.pin)
		if len(t.pin) == 0 || len(t.pin) > 32 {
			return fmt.Errorf("a PIN of %d bytes, 1 to 32 are taken: %w", len(t.pin), store.ErrInvalid)
		}
	}
	t.srk, err = tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate),
	}.Execute(wire)
	if err != nil {
		return fmt.Errorf("storage root key: %w", err)
	}
	defer func() {
		if _, e := (tpm2.FlushContext{FlushHandle: t.srk.ObjectHandle}).Execute(wire); err == nil {
			err = e
		}
	}()
	pub, err := t.srk.OutPublic.Contents()
	if err != nil {
		return err
	}
	t.pub = *pub
	return f(t)
}

// count is a counter in the TPM.
type count struct {
	name  tpm2.TPM2BName
	value uint64
}

// counter reads a counter and defines it where there is none. A new one begins
// above every other that the TPM ever had.
func (t *chip) counter(index tpm2.TPMHandle) (count, error) {
	pub, err := (tpm2.NVReadPublic{NVIndex: index}).Execute(t.tpm)
	if errors.Is(err, tpm2.TPMRCHandle) {
		if _, err := (tpm2.NVDefineSpace{
			AuthHandle: tpm2.TPMRHOwner,
			PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
				NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
				Attributes: tpm2.TPMANV{AuthWrite: true, AuthRead: true, OwnerRead: true, NT: tpm2.TPMNTCounter, NoDA: true},
			}),
		}).Execute(t.tpm); err != nil {
			return count{}, fmt.Errorf("counter %#x: %w", uint32(index), err)
		}
		if err := t.advance(index); err != nil { // only then it has a value
			return count{}, err
		}
		pub, err = (tpm2.NVReadPublic{NVIndex: index}).Execute(t.tpm)
	}
	if err != nil {
		return count{}, fmt.Errorf("counter %#x: %w", uint32(index), err)
	}
	r, err := (tpm2.NVRead{AuthHandle: nv(index, pub.NVName), NVIndex: tpm2.NamedHandle{Handle: index, Name: pub.NVName}, Size: 8}).Execute(t.tpm)
	if errors.Is(err, tpm2.TPMRCNVUninitialized) { // a power cut after it was defined
		if err := t.advance(index); err != nil {
			return count{}, err
		}
		return t.counter(index)
	}
	if err != nil {
		return count{}, fmt.Errorf("counter %#x: %w", uint32(index), err)
	}
	if len(r.Data.Buffer) != 8 {
		return count{}, fmt.Errorf("counter %#x has %d bytes", uint32(index), len(r.Data.Buffer))
	}
	return count{pub.NVName, binary.BigEndian.Uint64(r.Data.Buffer)}, nil
}

func (t *chip) advance(index tpm2.TPMHandle) error {
	pub, err := (tpm2.NVReadPublic{NVIndex: index}).Execute(t.tpm)
	if err == nil {
		_, err = (tpm2.NVIncrement{AuthHandle: nv(index, pub.NVName), NVIndex: tpm2.NamedHandle{Handle: index, Name: pub.NVName}}).Execute(t.tpm)
	}
	if err != nil {
		return fmt.Errorf("counter %#x: %w", uint32(index), err)
	}
	return nil
}

func nv(index tpm2.TPMHandle, name tpm2.TPM2BName) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: index, Name: name, Auth: tpm2.PasswordAuth(nil)}
}

// policy is what must hold for the key to be given out: the conditions of the
// package comment, in that order.
func (t *chip) policy(session tpm2.TPMISHPolicy, epoch uint64, pcrs []uint, pin bool) error {
	c, err := t.counter(epochIndex)
	if err != nil {
		return err
	}
	if _, err := (tpm2.PolicyNV{
		AuthHandle: nv(epochIndex, c.name), NVIndex: tpm2.NamedHandle{Handle: epochIndex, Name: c.name}, PolicySession: session,
		OperandB: tpm2.TPM2BOperand{Buffer: binary.BigEndian.AppendUint64(nil, epoch)}, Operation: tpm2.TPMEOEq,
	}).Execute(t.tpm); err != nil {
		return err
	}
	if len(pcrs) > 0 {
		if _, err := (tpm2.PolicyPCR{PolicySession: session, Pcrs: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
			{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...)},
		}}}).Execute(t.tpm); err != nil {
			return err
		}
	}
	if pin {
		if _, err := (tpm2.PolicyAuthValue{PolicySession: session}).Execute(t.tpm); err != nil {
			return err
		}
	}
	return nil
}

// seal makes the object. Its policy is computed by the TPM itself, in a trial.
func (t *chip) seal(key []byte, epoch uint64) (sealed, error) {
	trial, end, err := tpm2.PolicySession(t.tpm, tpm2.TPMAlgSHA256, 16, tpm2.Trial())
	if err != nil {
		return sealed{}, err
	}
	var digest *tpm2.PolicyGetDigestResponse
	if err = t.policy(trial.Handle(), epoch, t.key.PCRs, t.pin != nil); err == nil {
		digest, err = (tpm2.PolicyGetDigest{PolicySession: trial.Handle()}).Execute(t.tpm)
	}
	if err = errors.Join(err, end()); err != nil {
		return sealed{}, err
	}
	made, err := (tpm2.Create{
		ParentHandle: tpm2.AuthHandle{
			Handle: t.srk.ObjectHandle, Name: t.srk.Name,
			Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Salted(t.srk.ObjectHandle, t.pub), tpm2.AESEncryption(128, tpm2.EncryptIn)),
		},
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			UserAuth: tpm2.TPM2BAuth{Buffer: t.pin},
			Data:     tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: key}),
		}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: t.pin == nil},
			AuthPolicy:       digest.PolicyDigest,
		}),
	}).Execute(t.tpm)
	if err != nil {
		return sealed{}, err
	}
	return sealed{
		Public: made.OutPublic.Bytes(), Private: made.OutPrivate.Buffer,
		Epoch: epoch, PCRs: t.key.PCRs, PIN: t.pin != nil, ID: store.KeyID(key),
	}, nil
}

func (t *chip) unseal(s sealed) (key []byte, err error) {
	loaded, err := (tpm2.Load{
		ParentHandle: tpm2.AuthHandle{Handle: t.srk.ObjectHandle, Name: t.srk.Name, Auth: tpm2.PasswordAuth(nil)},
		InPrivate:    tpm2.TPM2BPrivate{Buffer: s.Private}, InPublic: tpm2.BytesAs2B[tpm2.TPMTPublic](s.Public),
	}).Execute(t.tpm)
	if err != nil {
		return nil, fmt.Errorf("the sealed key is of another TPM, or damaged: %w", err)
	}
	defer func() {
		if _, e := (tpm2.FlushContext{FlushHandle: loaded.ObjectHandle}).Execute(t.tpm); err == nil && e != nil {
			clear(key)
			key, err = nil, e
		}
	}()
	if s.PIN && t.pin == nil {
		return nil, errors.New("the key was sealed with a PIN, and none is given; set store.tpm_pin_file")
	}
	session, end, err := tpm2.PolicySession(t.tpm, tpm2.TPMAlgSHA256, 16, tpm2.Salted(t.srk.ObjectHandle, t.pub),
		tpm2.AESEncryption(128, tpm2.EncryptOut), tpm2.Auth(t.pin))
	if err != nil {
		return nil, err
	}
	var out *tpm2.UnsealResponse
	if err = t.policy(session.Handle(), s.Epoch, s.PCRs, s.PIN); err == nil {
		out, err = (tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: loaded.ObjectHandle, Name: loaded.Name, Auth: session}}).Execute(t.tpm)
	}
	switch e := end(); {
	case errors.Is(err, tpm2.TPMRCPolicy):
		return nil, fmt.Errorf("this key was replaced, and its epoch is over: %w", err)
	case errors.Is(err, tpm2.TPMRCPolicyFail):
		return nil, fmt.Errorf("the system that started is not the one that the key was sealed for (PCR %v): %w", s.PCRs, err)
	case errors.Is(err, tpm2.TPMRCAuthFail):
		return nil, fmt.Errorf("wrong PIN: %w", err)
	case errors.Is(err, tpm2.TPMRCLockout):
		return nil, fmt.Errorf("too many wrong PINs: the TPM is locked out for a while (tpm2_dictionarylockout ends it): %w", err)
	case err != nil:
		return nil, err
	case e != nil:
		clear(out.OutData.Buffer)
		return nil, e
	}
	return out.OutData.Buffer, nil
}
