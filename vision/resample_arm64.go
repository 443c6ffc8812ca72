package vision

// fastRows tells whether the processor resamples in vectors. Every arm64 processor has
// NEON.
var fastRows = true
