//go:build !cgo

package main

// withOpenCV tells whether the daemon under test was built with OpenCV.
const withOpenCV = false
