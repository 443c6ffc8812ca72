package vision

import "golang.org/x/sys/cpu"

// fastRows tells whether the processor resamples in vectors.
var fastRows = cpu.X86.HasAVX2
