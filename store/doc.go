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
// # Renewable templates
//
// A face template is kept turned by an isometry (package isometry) that a seed
// of the person and the template's id stand for, so that it can be revoked and
// renewed, and is like no other template of that face, here or on another device
// (ISO/IEC 24745). The seed is sealed with the person's key, apart from the
// templates: it goes when they are forgotten, and Renew and Rotate replace it. It
// protects whatever leaks of a template alone, out of memory or through a bug;
// whoever has the vault and its device key has the seeds too.
//
// A 1:1 comparison turns the probe and leaves the reference as it is. A 1:N
// search and the look for duplicates compare across people, whose references lie
// in spaces of their own. One transform for the whole gallery would do and make
// every search a little cheaper, but could be renewed only for all at once, and
// would keep the angles between all who are enrolled, by which a leaked gallery is
// linked to the one that it was renewed to. Turning the probe into each
// reference's space leaves the references alone, but does for every frame what is
// needed once. So the caller brings the references of one search into one
// space, that of the first, as it unseals them; BenchmarkGallery of package device
// says what that adds to the unsealing.
//
// Fingers are not turned. A module's template is a block in its maker's secret
// format that the module itself must read, so it is downloaded as it is, and
// any keyed transform would be taken back a moment before: that is sealing, which
// it has. What sealing gives of ISO/IEC 24745: records of two people, two devices
// or two times cannot be told apart or linked (random nonces, person keys), and
// one is revoked by destroying it. What it does not: once it is in the clear,
// a finger's template is renewed only by enrolling another finger.
//
// # Nothing old comes back
//
// A seal tells that a record was once written where it stands. That it is the
// last one is told by a digest of all records, sealed with the commit counter and
// checked by Open, so that no record of an old copy can be put back. That the
// whole is the last one is told by the head file, and where the KeySource has a
// Counter also against whoever puts both files back: but not within one start.
// With such a KeySource an erasure replaces the root key as well; what an old
// copy holds of a person then opens for nobody.
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
