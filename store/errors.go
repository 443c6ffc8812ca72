package store

import "errors"

// Sentinels. Every error of this package wraps one of them; the text says
// which file and what to do.
var (
	// ErrNotFound: no such person or record.
	ErrNotFound = errors.New("not found")
	// ErrExists: there is one already.
	ErrExists = errors.New("exists already")
	// ErrInvalid: a value that the store refuses to take.
	ErrInvalid = errors.New("invalid")
	// ErrCorrupt: the file or a record in it is not what was written.
	ErrCorrupt = errors.New("corrupt")
	// ErrKey: the device key is missing, readable by others, or of another vault.
	ErrKey = errors.New("wrong key")
	// ErrMode: the file is open to others, or not a plain file of ours.
	ErrMode = errors.New("unsafe file mode")
	// ErrInUse: another process has the file.
	ErrInUse = errors.New("in use")
	// ErrSchema: the file was written by a newer faceprint.
	ErrSchema = errors.New("unknown schema")
	// ErrRolledBack: the vault is older than what was last seen of it.
	ErrRolledBack = errors.New("rolled back")
	// ErrHead: the vault was written, the head file beside it was not.
	ErrHead = errors.New("head file not written")
	// ErrSpace: the disk has no room for it.
	ErrSpace = errors.New("no space left on the disk")
	// ErrInterrupted: its context ended before what was asked for could not be
	// undone any more, and it was undone.
	ErrInterrupted = errors.New("interrupted")
	// ErrNoConsent: nothing of a person is kept before they agreed.
	ErrNoConsent = errors.New("no consent")
)
