// Package vision finds faces in frames, judges how good and how alive they
// look, and turns them into embeddings that can be compared. It is pure Go;
// the networks are run by an Engine (vision/opencv, vision/ort).
//
// Pixels are 8 bit BGR, as OpenCV delivers them; coordinates are in pixels of
// the frame. A score that is not a number refuses wherever it turns up.
package vision
