// Package phone is the device's end of the paired phone: invitations and
// pairing, the TLS listener with its API, signed requests, approvals, and
// revocation. The protocol itself is in device/phone/client, which a phone uses
// too.
//
// A phone never gets a picture or a template. It gets decisions, grants, and
// what concerns its own person.
//
// # What a stranger on the network can do
//
// Load the page where that is switched on, read the API's description, and be
// refused: cheaply, slowly, and counted. Connections, handshakes and unsigned
// requests are limited per address, signed ones per key, before a signature
// is checked where the connection has shown whose it is; others end with their
// first wrong one. Refusals are audited as one entry a minute with a count per
// reason, so that a flood cannot fill the disk.
//
// # Counters
//
// A request's counter must be above the last of its phone. The vault keeps a
// ceiling that is reserved in steps, since a commit a request would wear out a
// card; after a crash the counters go on above the ceiling, so none is ever
// taken twice.
package phone
