// Package modsim is a fingerprint module made of software: it speaks the same
// wire as a Grow R503, at the same pace, and is driven by text commands, so
// that a bench, a test or a technician can lay a finger on it, lift it, or pull
// its cable.
//
// A simulated finger is a vector that its person's name and its own name seed;
// every touch adds noise of its own. Templates carry those vectors, hidden by a
// mask of the module's family, and the module compares their contents: it knows
// no names, and a template of another family is noise to it. Pictures (UpImage)
// are synthetic ridges of the same seed.
package modsim
