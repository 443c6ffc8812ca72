package vision

import "golang.org/x/sys/cpu"

// dotAVX2 needs slices of one length, a multiple of 32.
//
//go:noescape
func dotAVX2(a, b []float32) float32

var fastDot = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// dotRow is dot for rows of the gallery: of one length, a multiple of 32. Its
// sums are in another order, so the last bits differ.
func dotRow(a, b []float32) float32 {
	if fastDot {
		return dotAVX2(a, b[:len(a)])
	}
	return dot(a, b)
}
