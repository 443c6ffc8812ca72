package device

import (
	"slices"
	"testing"
)

func TestDecideWithPhone(t *testing.T) {
	good := Measure{Enrolled: true, Compared: true, FMR: 1e-6, Live: 1}
	wrong := Measure{Enrolled: true, Compared: true, FMR: 1, Live: 1}
	absent := Measure{Enrolled: true}
	shown := Possession{Asked: true, Enrolled: true, Shown: true}
	here := shown
	here.Here = true
	for name, c := range map[string]struct {
		mode         Mode
		weight       PhoneWeight
		face, finger Measure
		phone        Possession
		want         []Reason // nil is granted
	}{
		"extra: all three":                 {Both, PhoneExtra, good, good, shown, nil},
		"extra: finger missing":            {Both, PhoneExtra, good, absent, shown, []Reason{FingerMissing}},
		"extra: phone missing":             {Both, PhoneExtra, good, good, Possession{Asked: true, Enrolled: true}, []Reason{PhoneMissing}},
		"second: face and phone":           {Both, PhoneSecond, good, absent, shown, nil},
		"second: finger and phone":         {Both, PhoneSecond, absent, good, shown, nil},
		"second: phone alone":              {Both, PhoneSecond, absent, absent, shown, []Reason{FaceMissing, FingerMissing}},
		"second: wrong face":               {Both, PhoneSecond, wrong, absent, shown, []Reason{FaceNoMatch, FingerMissing}},
		"second, face only: phone alone":   {FaceOnly, PhoneSecond, absent, absent, shown, []Reason{FaceMissing}},
		"second: no phone takes part":      {Both, PhoneSecond, good, absent, Possession{}, []Reason{FingerMissing}},
		"alone":                            {Both, PhoneAlone, absent, absent, shown, nil},
		"alone, but denied":                {Both, PhoneAlone, good, good, Possession{Asked: true, Enrolled: true, Shown: true, Denied: true}, []Reason{PhoneDenied}},
		"alone, but not shown":             {Both, PhoneAlone, good, good, Possession{Asked: true, Enrolled: true}, []Reason{PhoneMissing}},
		"alone, but nobody's":              {Both, PhoneAlone, good, good, Possession{Asked: true, Shown: true}, []Reason{PhoneNotEnrolled}},
		"alone, and nobody is found":       {Both, PhoneAlone, Measure{Enrolled: true, Compared: true, FMR: 1e-6, Live: 1, Answer: AnswerSlow}, absent, Possession{Asked: true, Enrolled: true}, []Reason{PhoneMissing, FaceTooSlow}},
		"alone, shown without being asked": {Both, PhoneAlone, absent, absent, Possession{Enrolled: true, Shown: true}, []Reason{FaceMissing, FingerMissing}},
		"alone, here: phone alone":         {Both, PhoneAlone, absent, absent, here, []Reason{FaceMissing, FingerMissing}},
		"alone, here: face and phone":      {Both, PhoneAlone, good, absent, here, nil},
		"alone, here: a stranger":          {Both, PhoneAlone, wrong, absent, here, []Reason{FaceNoMatch, FingerMissing}},
		"alone, face only, here":           {FaceOnly, PhoneAlone, absent, good, here, []Reason{FaceMissing}},
		"alone, either, here":              {Either, PhoneAlone, absent, good, here, nil},
		"second, here: phone alone":        {Both, PhoneSecond, absent, absent, here, []Reason{FaceMissing, FingerMissing}},
		"extra, here":                      {Both, PhoneExtra, good, absent, here, []Reason{FingerMissing}},
		"no weight, here":                  {Both, "", good, good, here, []Reason{PhoneNotAllowed}},
		"not for policies, here":           {phoneOnly, PhoneAlone, absent, absent, here, []Reason{}},
		"no weight":                        {Both, "", good, good, shown, []Reason{PhoneNotAllowed}},
		"unknown weight":                   {Both, "most", good, good, shown, []Reason{PhoneNotAllowed}},
		"no mode":                          {"", PhoneAlone, good, good, shown, []Reason{NoPolicy}},
		"a mode that is not for policies":  {phoneOnly, PhoneAlone, absent, absent, Possession{}, []Reason{}},
		"the same, with a weight":          {phoneOnly, PhoneSecond, good, good, shown, []Reason{}},
	} {
		p := Policy{Mode: c.mode, Phone: c.weight, FaceFMR: 1e-4, FingerFMR: 1e-4, Live: 0.5}
		v := p.Decide(Evidence{Face: c.face, Finger: c.finger, Phone: c.phone})
		if v.Granted != (c.want == nil) || len(c.want) > 0 && !slices.Equal(v.Reasons, c.want) {
			t.Errorf("%s: %+v, want %v", name, v, c.want)
		}
		if v.Granted && c.phone.Asked && !slices.Contains(v.Passed, Phone) {
			t.Errorf("%s: the phone did not pass", name)
		}
	}
}
