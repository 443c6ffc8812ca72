// Package store is the vault: people, their consent, their sealed templates,
// lock-outs, small secrets of the device, and the audit chain, in one bbolt
// file.
//
// # Sealing
//
// Every record is sealed with XChaCha20-Poly1305. Its bucket and key are
// associated data, so that a record moved to another place does not open. What
// belongs to a person is sealed with that person's own random key, which is
// wrapped by the vault's root key: destroying the wrapped key is what erases a
// person. The root key is wrapped by the device key, which a KeySource holds:
// a file, a TPM. Rotate replaces all three. XChaCha20 was chosen over AES-GCM
// because its 192-bit nonces may be random for the life of the device, and
// because a Pi before the fifth has no AES instructions.
//
// bbolt itself checks nothing but its two meta pages: a flipped bit in a value
// reads back flipped, a damaged newest meta page silently gives the state
// before, a file that is too short ends the process with SIGBUS, and a page
// that points back to one above it ends it too. Open therefore looks at the
// file before bbolt maps it, the AEAD covers every value, and the head of the
// audit chain is kept in a second file as well, so that a vault that was rolled
// back is found. Who restores both files from an old card is found where the
// KeySource has a Counter.
//
// # Durability
//
// Update returns after bbolt's commit was synced. The head file is written
// afterwards and not synced: after a power cut it may be behind the vault,
// which is fine, and is never ahead of it, which is what gives a rollback away.
// Everything that replaces a whole file is made beside it, synced, and renamed.
package store
