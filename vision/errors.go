package vision

import "errors"

// Sentinels. Every error of this package wraps one of them.
var (
	// ErrFrame: the picture is no picture that could be looked at.
	ErrFrame = errors.New("unusable frame")
	// ErrSilent: a camera is there, and gives no frame; one may come later. It is not
	// that of a camera that was lost.
	ErrSilent = errors.New("the camera is silent")
	// ErrModel: a model file is missing, is not the file that the profile
	// names, or answered with what is no number.
	ErrModel = errors.New("unusable model")
	// ErrProfile: a profile is incomplete or contradicts itself.
	ErrProfile = errors.New("unusable profile")
	// ErrEmbedding: bytes or numbers that are no embedding.
	ErrEmbedding = errors.New("unusable embedding")
	// ErrNoEngine: this program was built without an inference engine.
	ErrNoEngine = errors.New("no inference engine in this program")
)
