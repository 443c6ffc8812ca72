// Package host compares fingers on the host: the module takes the picture, and
// everything after that is sensor/minutia's. So the module's word on who it is
// counts for nothing, any reader that delivers a picture will do, and the
// templates can be read, renewed and exchanged.
//
// What it costs: the picture's way over the wire, 1.7 s for the 192 x 192
// pixels of an R503 at 115200 baud, where a template takes 0.15 s; and accuracy
// on windows that small, which faceprint-eval finger --window 192 shows.
//
// A module that plays an old picture is not noticed; sensor.Module's decoys
// guard the module's own comparison, not its pictures.
package host
