package minutia

import "math"

// waves are a template's ridge patches in the numbers that matching needs.
type waves struct {
	w, h int
	at   []wave
	bare bool // of an imported record: minutiae alone
}

// wave is the ridges in one patch: cos(phase + k * distance along the normal).
type wave struct {
	on     bool
	c2, s2 float32 // the ridges' direction, doubled
	nx, ny float32 // the normal, along which the phase rises
	k      float32 // radians a px
	phase  float32 // at the patch's middle
}

func newWaves(r *Ridges) waves {
	ws := waves{w: r.Width, h: r.Height, at: make([]wave, len(r.Patches)), bare: r.bare()}
	for i, p := range r.Patches {
		if !p.On {
			continue
		}
		sin, cos := math.Sincos(float64(p.Direction) * math.Pi / patchDirections)
		ws.at[i] = wave{
			on: true,
			c2: float32(cos*cos - sin*sin), s2: float32(2 * sin * cos),
			nx: float32(-sin), ny: float32(cos),
			k: float32(2 * math.Pi / periodOf(p.Period)), phase: float32(p.Phase) * 2 * math.Pi / patchPhases,
		}
	}
	return ws
}

// covers tells whether a point lies on the finger; of a record that does not
// say, whether it lies in the picture.
func (ws *waves) covers(x, y float32) bool {
	if ws.bare {
		return x >= 0 && y >= 0 && x < float32(ws.w*patchSize) && y < float32(ws.h*patchSize)
	}
	return ws.patch(x, y) != nil
}

// patch is the patch that a point lies in, or nil off the finger.
func (ws *waves) patch(x, y float32) *wave {
	if x < 0 || y < 0 {
		return nil
	}
	px, py := int(x)/patchSize, int(y)/patchSize
	if px >= ws.w || py >= ws.h {
		return nil
	}
	if w := &ws.at[py*ws.w+px]; w.on {
		return w
	}
	return nil
}

// direction is the doubled ridge direction at a point, between the middles of
// the four nearest patches, and whether any of them is on the finger.
func (ws *waves) direction(x, y float32) (c2, s2 float32, ok bool) {
	fx, fy := x/patchSize-0.5, y/patchSize-0.5
	x0, y0 := int(math.Floor(float64(fx))), int(math.Floor(float64(fy)))
	tx, ty := fx-float32(x0), fy-float32(y0)
	var n float32
	for dy := range 2 {
		for dx := range 2 {
			px, py := x0+dx, y0+dy
			if px < 0 || py < 0 || px >= ws.w || py >= ws.h {
				continue
			}
			w := &ws.at[py*ws.w+px]
			if !w.on {
				continue
			}
			k := (1 - tx + float32(dx)*(2*tx-1)) * (1 - ty + float32(dy)*(2*ty-1))
			c2 += k * w.c2
			s2 += k * w.s2
			n += k
		}
	}
	return c2, s2, n >= 0.5
}

// cosTable is a cosine of 256 steps a turn: two per cent of error do not matter
// where phases are known to a 32nd.
var cosTable = func() (t [256]float32) {
	for i := range t {
		t[i] = float32(math.Cos(float64(i) * 2 * math.Pi / 256))
	}
	return
}()

func fastCos(a float32) float32 { return cosTable[int(a*(256/(2*math.Pi))+1024.5)&255] }
