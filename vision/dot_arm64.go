package vision

// dotNEON leaves 16 partial sums; it needs slices of one length, a multiple of
// 16. Every arm64 processor has NEON.
//
//go:noescape
func dotNEON(a, b []float32, sums *[16]float32)

// dotRow is dot for rows of the gallery: of one length, a multiple of 32. Its
// sums are in another order, so the last bits differ.
func dotRow(a, b []float32) float32 {
	var s [16]float32
	dotNEON(a, b[:len(a)], &s)
	var sum float32
	for i := 0; i < 16; i += 4 {
		sum += (s[i] + s[i+1]) + (s[i+2] + s[i+3])
	}
	return sum
}
