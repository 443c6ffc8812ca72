// Package board speaks with a guard board over its serial line: frames,
// sessions, the loader's console, and the whole of a firmware update.
// firmware/PROTOCOL.md is the specification; section numbers are its.
//
// The host asks and the board answers. What comes over the wire is hostile: a
// frame that is not taken is noise, a plain refusal is a hint and never a
// proof, and only what is sealed with the session's keys is believed.
package board
