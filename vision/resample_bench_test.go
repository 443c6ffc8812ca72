package vision

import (
	"fmt"
	"math"
	"testing"
)

// BenchmarkReduce averages the crop that the liveness net gets of a face that
// fills a frame, against a plain walk over the same bytes, in one run.
func BenchmarkReduce(b *testing.B) {
	for _, k := range []int{2, 3, 5} {
		b.Run(fmt.Sprintf("by%d", k), func(b *testing.B) {
			fr := grey(128*k, 128*k)
			f := newFeeder(Input{Size: [2]int{128, 128}, Order: orderBGR})
			least, walk := int64(math.MaxInt64), int64(math.MaxInt64)
			var sum uint64
			for b.Loop() {
				start := processorTime(b)
				for range 20 {
					f.reduce(fr.picture(), k, k)
				}
				half := processorTime(b)
				for range 20 {
					for _, v := range fr.Pix {
						sum += uint64(v)
					}
				}
				least, walk = min(least, half-start), min(walk, processorTime(b)-half)
			}
			if sum == 0 {
				b.Fatal("nothing was read")
			}
			b.ReportMetric(float64(least)/20/float64(fr.Width*fr.Height), "ns/pixel")
			b.ReportMetric(float64(least)/float64(walk), "x-walk")
		})
	}
}
