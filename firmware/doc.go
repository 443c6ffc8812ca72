// Package firmware is the host's side of the guard board's images: what they
// are, who signed them, and for which board and slot they were linked.
//
// PROTOCOL.md beside this file is the specification of it and of the C half;
// testdata/protocol.txt has the vectors that both pass. A decoder here takes
// only what its encoder would write, so that there is one file for one image.
package firmware
