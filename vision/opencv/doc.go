// Package opencv is the only one that links OpenCV: the camera, through gocv,
// and the dnn engine. Without cgo it builds to stubs that say so.
//
// Written for OpenCV 4.6 (Debian 12, Raspberry Pi OS bookworm), gocv v0.31.
// Linking it costs a program half a second and 78 MiB before main begins, so
// only the daemon and the evaluator do.
//
// Clips and what happens around a source are tested everywhere; V4L2 on the
// kernel's own camera in QEMU ('make vivid') and on the device that
// FACEPRINT_CAMERA names.
package opencv
