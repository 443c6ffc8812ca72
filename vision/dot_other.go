//go:build !amd64 && !arm64

package vision

func dotRow(a, b []float32) float32 { return dot(a, b) }
