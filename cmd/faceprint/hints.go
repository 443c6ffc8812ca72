package main

// hintWords say in a terminal what a hint's stable name wants of a person. A name
// that is not here is shown as it is.
var hintWords = map[string]string{
	"no-face":         "look at the camera",
	"one-person":      "one person at a time",
	"closer":          "come closer",
	"farther":         "step back a little",
	"move-to-centre":  "move to the middle of the picture",
	"too-dark":        "it is too dark",
	"too-bright":      "it is too bright",
	"backlit":         "there is too much light behind you",
	"colour-cast":     "the light is too coloured",
	"turn-to-camera":  "turn to the camera",
	"hold-still":      "hold still",
	"look-straight":   "look straight at the camera",
	"turn-left":       "turn your head a little to your left",
	"turn-right":      "turn your head a little to your right",
	"nearer":          "come a little nearer",
	"press-finger":    "lay the finger on the reader",
	"use-same-finger": "that is another finger; use the one that is being enrolled",
	"lift-finger":     "take the finger away",
	"uncover-face":    "take off what covers the face",
	"open-eyes":       "open your eyes",
	"blink":           "shut both eyes for a moment",
}

// hint is a hint with its words.
func hint(name string) string {
	if words, ok := hintWords[name]; ok {
		return name + " (" + words + ")"
	}
	return name
}
