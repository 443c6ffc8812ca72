package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/store/tpm"
)

// keyKinds of store.key.
var keyKinds = []string{"file", "tpm", "systemd-creds"}

// keySource is where the configuration keeps the device key.
func keySource(c storeConfig) store.KeySource {
	switch c.Key {
	case "tpm":
		k := tpm.Key{Device: c.TPMDevice, File: c.KeyFile, PCRs: c.TPMPCRs}
		if c.TPMPINFile != "" {
			k.PIN = func() ([]byte, error) {
				b, err := store.ReadPrivate(c.TPMPINFile)
				return bytes.TrimSpace(b), err
			}
		}
		return k
	case "systemd-creds":
		return store.Creds(c.KeyFile)
	}
	return store.KeyFile(c.KeyFile)
}

// openStore opens the vault for the daemon, and makes it where there is none.
func openStore(ctx context.Context, c storeConfig, accept bool) (*store.Store, error) {
	for _, f := range []string{c.File, c.KeyFile} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	return store.OpenContext(ctx, c.File, keySource(c), store.Options{Accept: accept})
}

// existing opens the vault for work on it: one in the wrong place is not made.
func existing(ctx context.Context, c storeConfig) (*store.Store, error) {
	return store.OpenContext(ctx, c.File, keySource(c), store.Options{Existing: true})
}

const vaultUsage = `usage: faceprintd --config FILE vault COMMAND

Work on the vault while the daemon is stopped, as the account that it belongs to,
or as root, which becomes that account:

  check                      read everything; of an older schema, rehearse the migration on a copy
  rotate                     replace every key and seal everything anew; nobody is enrolled again
  renew [ID]                 revoke the face templates of a person, or of everybody, and keep new ones
                             in their place; nobody is enrolled again
  rekey --from KIND:FILE     move the vault from a key of another kind (file, tpm, systemd-creds)
                             to the one that the configuration names, and destroy that key
  restore FILE --identity KEYS [--recovery KEYS] [--replace [--without-forgotten]]
                             bring a backup back; KEYS are files of age identities. A backup of
                             another device, or from before the device key was replaced, needs
                             the owner's recovery key. With --replace it takes the place of the
                             vault that is there, and whoever that forgot stays forgotten; where
                             that vault cannot tell, or is gone and its head file or TPM key is
                             left, only with --without-forgotten
`

// vaultCommand runs one of them. When the context ends, what can be undone is,
// and what cannot is finished first; it says which.
func vaultCommand(ctx context.Context, c Config, args []string, out, errout io.Writer) int {
	run, ok := map[string]func(context.Context, storeConfig, []string, io.Writer) error{
		"check": vaultCheck, "rotate": vaultRotate, "renew": vaultRenew, "rekey": vaultRekey, "restore": vaultRestore,
	}[strings.Join(args[:min(1, len(args))], "")]
	if !ok {
		if len(args) > 0 {
			fmt.Fprintf(errout, "faceprintd: vault: there is no command %q\n", args[0])
		}
		fmt.Fprint(errout, vaultUsage)
		return 2
	}
	err := run(ctx, c.Store, args[1:], out)
	if errors.Is(err, errUsage) {
		fmt.Fprintf(errout, "faceprintd: vault %s: %v\n%s", args[0], err, vaultUsage)
		return 2
	}
	if errors.Is(err, store.ErrInterrupted) {
		fmt.Fprintf(errout, "faceprintd: vault %s: %v; %s\n", args[0], err, undone[args[0]])
		return 1
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, store.ErrSpace) {
		err = fmt.Errorf("%w; make room there, as much again as the vault %s has, and run it again", err, c.Store.File)
	}
	if err != nil {
		fmt.Fprintf(errout, "faceprintd: vault %s: %v\n", args[0], err)
		return 1
	}
	if cause := context.Cause(ctx); cause != nil {
		fmt.Fprintf(errout, "faceprintd: vault %s: it could not be undone any more (%v), so it was finished\n", args[0], cause)
	}
	return 0
}

// undone is what is left of an interrupted command.
var undone = map[string]string{
	"check":   "nothing was changed",
	"rotate":  "every key is as it was",
	"renew":   "whoever is left has the templates of before; run it again",
	"rekey":   "the key is as it was",
	"restore": "nothing was changed",
}

var errUsage = errors.New("wrong arguments")

func noArguments(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: %q", errUsage, args)
	}
	return nil
}

func vaultCheck(ctx context.Context, c storeConfig, args []string, out io.Writer) error {
	if err := noArguments(args); err != nil {
		return err
	}
	if err := asOwner(c); err != nil {
		return err
	}
	from, err := store.Rehearse(ctx, c.File, keySource(c))
	if err != nil {
		return err
	}
	if from < store.Version {
		fmt.Fprintf(out, "%s is sound; the next start migrates it from schema %d to %d, which went well on a copy\n", c.File, from, store.Version)
		return nil
	}
	fmt.Fprintf(out, "%s is sound, of schema %d; %v\n", c.File, from, keySource(c))
	return nil
}

func vaultRotate(ctx context.Context, c storeConfig, args []string, out io.Writer) (err error) {
	if err := noArguments(args); err != nil {
		return err
	}
	if err := asOwner(c); err != nil {
		return err
	}
	v, err := existing(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if err := v.Rotate(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "every key was replaced; backups of before need their recovery key; %s\n", v.Key())
	return nil
}

func vaultRenew(ctx context.Context, c storeConfig, args []string, out io.Writer) (err error) {
	var user store.UserID
	switch len(args) {
	case 0:
	case 1:
		if user, err = store.ParseUserID(args[0]); err != nil {
			return fmt.Errorf("%w: %w; 'faceprint people' lists them", errUsage, err)
		}
	default:
		return noArguments(args[1:])
	}
	if err := asOwner(c); err != nil {
		return err
	}
	v, err := existing(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	n, err := v.Renew(ctx, user, time.Now())
	if errors.Is(err, store.ErrInterrupted) {
		return fmt.Errorf("%d face templates were renewed: %w", n, err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d face templates renewed; make a new backup and destroy those of before\n", n)
	return nil
}

// destroyer is a key source whose key can be given up.
type destroyer interface{ Destroy() error }

func vaultRekey(ctx context.Context, c storeConfig, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("rekey", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	from := flags.String("from", "", "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return fmt.Errorf("%w: %v", errUsage, args)
	}
	kind, file, ok := strings.Cut(*from, ":")
	old := c
	old.Key, old.KeyFile = kind, file
	if !ok || file == "" || !oneOfKinds(kind) {
		return fmt.Errorf("%w: --from is KIND:FILE, KIND one of %s", errUsage, strings.Join(keyKinds, ", "))
	}
	if sameFile(file, c.KeyFile) {
		return fmt.Errorf("%w: the configuration names the same file; give the new key a file of its own, store.key_file", errUsage)
	}
	if err := asOwner(c); err != nil {
		return err
	}
	v, err := existing(ctx, old)
	if errors.Is(err, store.ErrKey) {
		v, err = movedAlready(ctx, c, old, err)
	} else if err == nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", store.ErrInterrupted, context.Cause(ctx))
		} else {
			err = v.MoveKey(keySource(c)) // a moment, and then too late
		}
		if err != nil {
			err = errors.Join(err, v.Close())
		}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if d, ok := keySource(old).(destroyer); ok {
		if err := d.Destroy(); err != nil {
			return fmt.Errorf("the vault was moved, but the key of before is still there: %w", err)
		}
	}
	fmt.Fprintf(out, "moved; %s\n", v.Key())
	return nil
}

// sameFile tells whether two paths lead to one file, whatever links are on the way.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// movedAlready opens a vault that a rekey which was cut off had moved from the
// old key, which does not open it any more: only that key is left to destroy.
// Any other is left alone, and wrong is the error.
func movedAlready(ctx context.Context, c, old storeConfig, wrong error) (*store.Store, error) {
	if _, err := keySource(old).Key(); err != nil {
		return nil, wrong
	}
	if _, err := os.Lstat(c.KeyFile); err != nil {
		return nil, wrong
	}
	v, err := existing(ctx, c)
	if err != nil {
		return nil, errors.Join(wrong, err)
	}
	moved, err := v.MovedFrom(keySource(old))
	switch {
	case err != nil:
		return nil, errors.Join(err, v.Close())
	case !moved:
		return nil, errors.Join(wrong, v.Close())
	}
	return v, nil
}

func vaultRestore(ctx context.Context, c storeConfig, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("restore", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	identity, recovery, replace := flags.String("identity", "", ""), flags.String("recovery", "", ""), flags.Bool("replace", false, "")
	without := flags.Bool("without-forgotten", false, "")
	file := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		file, args = args[0], args[1:]
	}
	err := flags.Parse(args)
	if rest := flags.Args(); err == nil && file == "" && len(rest) > 0 { // behind the flags, or among them
		file = rest[0]
		err = flags.Parse(rest[1:])
	}
	if err != nil || file == "" || *identity == "" || flags.NArg() > 0 {
		return fmt.Errorf("%w: name the backup and, with --identity, the file of the operator's key", errUsage)
	}
	o := store.RestoreOptions{Replace: *replace, WithoutForgotten: *without, At: time.Now()}
	for _, key := range []struct { // both may be in one file
		name string
		to   *io.Reader
	}{{*identity, &o.Operator}, {*recovery, &o.Recovery}} {
		if key.name == "" {
			continue
		}
		b, err := readIn(ctx, key.name)
		if err != nil {
			return err
		}
		defer clear(b)
		if _, err := age.ParseIdentities(bytes.NewReader(b)); err != nil {
			return fmt.Errorf("%s: %w; it takes a file of secret keys, AGE-SECRET-KEY-1..., as age-keygen writes it", key.name, err)
		}
		*key.to = bytes.NewReader(b)
	}
	backup, err := openIn(ctx, file)
	if err != nil {
		return err
	}
	defer backup.Close()
	if err := asOwner(c); err != nil { // those files were root's to read
		return err
	}
	for _, f := range []string{c.File, c.KeyFile} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			return err
		}
	}
	r, err := store.Restore(ctx, c.File, keySource(c), backup, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "restored %d people as of %s into %s", r.People, r.At.Local().Format(time.DateTime), c.File)
	if r.Forgotten > 0 {
		fmt.Fprintf(out, "; %d who were forgotten since stay forgotten", r.Forgotten)
	}
	if r.Moved {
		fmt.Fprint(out, "; it was sealed with another device key and is now with this one's")
	}
	fmt.Fprintln(out)
	if r.Replaced {
		fmt.Fprintln(out, "phones and fingers that were revoked since that time are back: revoke them again; the stricter lock-outs hold")
	} else {
		fmt.Fprintln(out, "nothing told what was forgotten, revoked or locked out since that time: it is back; forget and revoke it again")
	}
	return nil
}

func oneOfKinds(kind string) bool {
	for _, k := range keyKinds {
		if k == kind {
			return true
		}
	}
	return false
}

// openIn opens a file to read, and gives up when the context ends, also where it
// waits for the writer of a pipe.
func openIn(ctx context.Context, name string) (io.ReadCloser, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeNamedPipe == 0 {
		return os.Open(name)
	}
	var f *os.File
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		f, err = os.Open(name)
	}()
	select {
	case <-opened:
	case <-ctx.Done():
		w, e := os.OpenFile(name, os.O_RDWR, 0) // a writer that opens at once: it wakes the reader
		if e != nil {
			return nil, fmt.Errorf("%s: %w: %w", name, store.ErrInterrupted, context.Cause(ctx)) // the process ends, and with it the wait
		}
		<-opened
		if err = errors.Join(err, w.Close()); err == nil {
			err = errors.Join(f.Close(), fmt.Errorf("%s: %w: %w", name, store.ErrInterrupted, context.Cause(ctx)))
		}
	}
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	return &pipe{f, stop}, nil
}

// pipe is one whose reads end with a context.
type pipe struct {
	*os.File
	stop func() bool
}

func (p *pipe) Close() error {
	p.stop()
	return p.File.Close()
}

// readIn reads a small file.
func readIn(ctx context.Context, name string) ([]byte, error) {
	f, err := openIn(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err = errors.Join(err, f.Close()); err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%s: %w: %w", name, store.ErrInterrupted, context.Cause(ctx))
	}
	return b, err
}
