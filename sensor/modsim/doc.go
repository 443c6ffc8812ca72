// Package modsim is a fingerprint module made of software: it speaks the wire
// of the ZFM/R30x/R503/AS608 family at the wire's own pace, and is driven by
// text commands, so that a bench, a test or a technician can lay a finger on
// it, lift it, pull its cable, or give it the habits of bad units.
//
// A simulated finger is a vector that its person's name and its own name seed;
// every touch adds noise of its own. Templates carry those vectors, hidden by a
// mask of the module's family, and the module compares their contents: it knows
// no names, and a template of another family is noise to it. Pictures (UpImage)
// are synthetic ridges of the same seed; a picture that the host sends
// (DownImage) is a finger of its own.
//
// Sizes, codes and times are those of the manuals (Grow R503 V1.2.2) and of
// what owners report; what nobody has published is marked as chosen.
package modsim
