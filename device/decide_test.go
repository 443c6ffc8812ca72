package device

import (
	"math"
	"slices"
	"testing"
)

// good is evidence that passes DefaultPolicy.
func good() Evidence {
	return Evidence{
		Face:   Measure{Enrolled: true, Compared: true, Score: 0.7, FMR: 1e-5, Live: 0.9},
		Finger: Measure{Enrolled: true, Compared: true, Score: 200, FMR: 1e-5},
	}
}

func TestDecide(t *testing.T) {
	with := func(change func(*Policy, *Evidence)) (Policy, Evidence) {
		p, e := DefaultPolicy(), good()
		change(&p, &e)
		return p, e
	}
	for name, tt := range map[string]struct {
		change  func(*Policy, *Evidence)
		granted bool
		reasons []Reason
		passed  []Factor
	}{
		"both good":                              {func(*Policy, *Evidence) {}, true, nil, []Factor{Face, Finger}},
		"zero policy":                            {func(p *Policy, _ *Evidence) { *p = Policy{} }, false, []Reason{NoPolicy}, nil},
		"unknown mode":                           {func(p *Policy, _ *Evidence) { p.Mode = "any" }, false, []Reason{NoPolicy}, nil},
		"no limit for faces":                     {func(p *Policy, _ *Evidence) { p.FaceFMR = 0 }, false, []Reason{FaceNoMatch}, []Factor{Finger}},
		"limit of 1":                             {func(p *Policy, _ *Evidence) { p.FingerFMR = 1 }, false, []Reason{FingerNoMatch}, []Factor{Face}},
		"limit is no number":                     {func(p *Policy, _ *Evidence) { p.FaceFMR = math.NaN() }, false, []Reason{FaceNoMatch}, []Factor{Finger}},
		"liveness not wanted":                    {func(p *Policy, _ *Evidence) { p.Live = 0 }, false, []Reason{FaceNotLive}, []Factor{Finger}},
		"no evidence":                            {func(_ *Policy, e *Evidence) { *e = Evidence{} }, false, []Reason{FaceNotEnrolled, FingerNotEnrolled}, nil},
		"face missing":                           {func(_ *Policy, e *Evidence) { e.Face.Compared = false }, false, []Reason{FaceMissing}, []Factor{Finger}},
		"finger missing":                         {func(_ *Policy, e *Evidence) { e.Finger.Compared = false }, false, []Reason{FingerMissing}, []Factor{Face}},
		"face of another":                        {func(_ *Policy, e *Evidence) { e.Face.FMR = 1 }, false, []Reason{FaceNoMatch}, []Factor{Finger}},
		"just over the limit":                    {func(_ *Policy, e *Evidence) { e.Face.FMR = 1.0001e-4 }, false, []Reason{FaceNoMatch}, []Factor{Finger}},
		"on the limit":                           {func(_ *Policy, e *Evidence) { e.Face.FMR = 1e-4 }, true, nil, []Factor{Face, Finger}},
		"face rate is NaN":                       {func(_ *Policy, e *Evidence) { e.Face.FMR = math.NaN() }, false, []Reason{FaceNoMatch}, []Factor{Finger}},
		"face rate below zero":                   {func(_ *Policy, e *Evidence) { e.Face.FMR = -1 }, false, []Reason{FaceNoMatch}, []Factor{Finger}},
		"finger rate is NaN":                     {func(_ *Policy, e *Evidence) { e.Finger.FMR = math.NaN() }, false, []Reason{FingerNoMatch}, []Factor{Face}},
		"a photograph":                           {func(_ *Policy, e *Evidence) { e.Face.Live = 0.1 }, false, []Reason{FaceNotLive}, []Factor{Finger}},
		"a challenge that is on, not asked":      {func(p *Policy, _ *Evidence) { p.Challenge = ChallengeOn }, false, []Reason{FaceNoAnswer}, []Factor{Finger}},
		"a challenge answered":                   {func(p *Policy, e *Evidence) { p.Challenge, e.Face.Answer = ChallengeOn, AnswerRight }, true, nil, []Factor{Face, Finger}},
		"a challenge not answered":               {func(_ *Policy, e *Evidence) { e.Face.Answer = AnswerNone }, false, []Reason{FaceNoAnswer}, []Factor{Finger}},
		"a challenge answered wrongly, when off": {func(p *Policy, e *Evidence) { p.Challenge, e.Face.Answer = ChallengeOff, AnswerWrong }, false, []Reason{FaceNoAnswer}, []Factor{Finger}},
		"an answer of an unknown word":           {func(_ *Policy, e *Evidence) { e.Face.Answer = "maybe" }, false, []Reason{FaceNoAnswer}, []Factor{Finger}},
		"a suspect":                              {func(_ *Policy, e *Evidence) { e.Face.Suspect = true }, false, []Reason{FaceNoAnswer}, []Factor{Finger}},
		"a suspect, and no challenges":           {func(p *Policy, e *Evidence) { p.Challenge, e.Face.Suspect = ChallengeOff, true }, true, nil, []Factor{Face, Finger}},
		"liveness unmeasured":                    {func(_ *Policy, e *Evidence) { e.Face.Live = math.NaN() }, false, []Reason{FaceNotLive}, []Factor{Finger}},
		"liveness over 1":                        {func(_ *Policy, e *Evidence) { e.Face.Live = 2 }, false, []Reason{FaceNotLive}, []Factor{Finger}},
		"either, face alone":                     {func(p *Policy, e *Evidence) { p.Mode, e.Finger = Either, Measure{Enrolled: true} }, true, nil, []Factor{Face}},
		"either, neither":                        {func(p *Policy, e *Evidence) { p.Mode, e.Face.FMR, e.Finger.FMR = Either, 1, 1 }, false, []Reason{FaceNoMatch, FingerNoMatch}, nil},
		"face only, bad finger is not looked at": {func(p *Policy, e *Evidence) { p.Mode, e.Finger.FMR = FaceOnly, 1 }, true, nil, []Factor{Face}},
		"finger only":                            {func(p *Policy, e *Evidence) { p.Mode, e.Face = FingerOnly, Measure{} }, true, nil, []Factor{Finger}},
		"1:N of ten people":                      {func(_ *Policy, e *Evidence) { e.Gallery = 10 }, true, nil, []Factor{Face, Finger}},
		"1:N of too many":                        {func(_ *Policy, e *Evidence) { e.Gallery = 11 }, false, []Reason{FaceNoMatch}, []Factor{Finger}},
		"1:N of more, by a better face":          {func(_ *Policy, e *Evidence) { e.Gallery, e.Face.FMR = 100, 1e-6 }, true, nil, []Factor{Face, Finger}},
		"a finger among ten":                     {func(p *Policy, e *Evidence) { p.Mode, e.Prints = FingerOnly, 10 }, true, nil, []Factor{Finger}},
		"a finger among too many":                {func(p *Policy, e *Evidence) { p.Mode, e.Prints = FingerOnly, 11 }, false, []Reason{FingerNoMatch}, nil},
		"a gallery below 0":                      {func(_ *Policy, e *Evidence) { e.Gallery = -5 }, true, nil, []Factor{Face, Finger}},
	} {
		p, e := with(tt.change)
		v := p.Decide(e)
		if v.Granted != tt.granted || !slices.Equal(v.Reasons, tt.reasons) || !slices.Equal(v.Passed, tt.passed) {
			t.Errorf("%s: %+v", name, v)
		}
		if v.Granted == (len(v.Reasons) > 0) {
			t.Errorf("%s: granted %v with reasons %v", name, v.Granted, v.Reasons)
		}
	}
}

// FuzzDecide looks for a yes that the policy does not allow.
func FuzzDecide(f *testing.F) {
	f.Add("both", 1e-4, 1e-4, 0.5, 1e-5, 0.9, 1e-5, 1, 1, uint8(15))
	f.Add("either", math.NaN(), 1.0, -1.0, math.Inf(1), math.Inf(-1), math.NaN(), -1, 11, uint8(5))
	f.Fuzz(func(t *testing.T, mode string, faceLimit, fingerLimit, live, face, faceLive, finger float64, gallery, prints int, has uint8) {
		p := Policy{Mode: Mode(mode), FaceFMR: faceLimit, FingerFMR: fingerLimit, Live: live}
		e := Evidence{
			Face:    Measure{Enrolled: has&1 != 0, Compared: has&2 != 0, FMR: face, Live: faceLive},
			Finger:  Measure{Enrolled: has&4 != 0, Compared: has&8 != 0, FMR: finger},
			Gallery: gallery, Prints: prints,
		}
		v := p.Decide(e)
		if !v.Granted {
			if len(v.Reasons) == 0 {
				t.Fatal("a refusal without a reason")
			}
			return
		}
		n, fingers := float64(max(gallery, 1)), float64(max(prints, 1))
		faceOK := has&3 == 3 && face >= 0 && face*n <= faceLimit && faceLimit > 0 && faceLimit < 1 && live > 0 && faceLive >= live && faceLive <= 1
		fingerOK := has&12 == 12 && finger >= 0 && finger*fingers <= fingerLimit && fingerLimit > 0 && fingerLimit < 1
		want := map[Mode]bool{FaceOnly: faceOK, FingerOnly: fingerOK, Either: faceOK || fingerOK, Both: faceOK && fingerOK}[p.Mode]
		if !want {
			t.Fatalf("%+v granted %+v", p, e)
		}
		if !(v.FMR >= 0 && v.FMR < 1) {
			t.Fatalf("granted at a rate of %g", v.FMR)
		}
	})
}
