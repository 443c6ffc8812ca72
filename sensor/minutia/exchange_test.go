package minutia

import (
	"errors"
	"testing"
)

func TestRecordsKeepTheMinutiae(t *testing.T) {
	own := print1(t, 1, 1)
	for _, x := range []Exchange{ISO19794_2, ANSI378} {
		data, err := own.Export(x)
		if err != nil {
			t.Fatal(err)
		}
		ts, got, err := Import(data)
		if err != nil || got != x || len(ts) != 1 {
			t.Fatalf("%v: %d views of %v: %v", x, len(ts), got, err)
		}
		if len(ts[0].Minutiae) != len(own.Minutiae) {
			t.Fatalf("%v: %d minutiae, want %d", x, len(ts[0].Minutiae), len(own.Minutiae))
		}
		for i, m := range ts[0].Minutiae {
			o := own.Minutiae[i]
			if m.X != o.X || m.Y != o.Y || m.Kind != o.Kind || turnDiff(m.Angle, o.Angle) > 1 || max(m.Quality, o.Quality)-min(m.Quality, o.Quality) > 1 {
				t.Errorf("%v: minutia %d is %+v, was %+v", x, i, m, o)
			}
		}
	}
}

// The header of ISO/IEC 19794-2:2005, 7.3, and of ANSI INCITS 378-2004, 6.4.
func TestRecordHeaders(t *testing.T) {
	tm := &Template{Width: 300, Height: 400, Quality: 77, Minutiae: []Minutia{{X: 5, Y: 260, Angle: 64, Quality: 15, Kind: Bifurcation}}}
	iso, _ := tm.Export(ISO19794_2)
	wantISO := "FMR\x00 20\x00" + "\x00\x00\x00\x24" + "\x00\x00" + "\x01\x2c\x01\x90" + "\x00\xc5\x00\xc5" + "\x01\x00" +
		"\x00\x00\x4d\x01" + "\x80\x05\x01\x04\xc0\x64" + "\x00\x00"
	if string(iso) != wantISO {
		t.Errorf("ISO  % x\nwant % x", iso, wantISO)
	}
	ansi, _ := tm.Export(ANSI378)
	wantANSI := "FMR\x00 20\x00" + "\x00\x26" + "\x00\x00\x00\x00" + "\x00\x00" + "\x01\x2c\x01\x90" + "\x00\xc5\x00\xc5" + "\x01\x00" +
		"\x00\x00\x4d\x01" + "\x80\x05\x01\x04\x87\x64" + "\x00\x00"
	if string(ansi) != wantANSI {
		t.Errorf("ANSI % x\nwant % x", ansi, wantANSI)
	}
}

// Minutiae alone, as other programs send them, still tell fingers apart.
func TestRecordsMatch(t *testing.T) {
	bare := func(finger, touch uint64) *Prepared {
		data, err := print1(t, finger, touch).Export(ISO19794_2)
		if err != nil {
			t.Fatal(err)
		}
		ts, _, err := Import(data)
		if err != nil {
			t.Fatal(err)
		}
		return Prepare(ts...)
	}
	var m Matcher
	for f := range uint64(3) {
		own := Prepare(print1(t, f, 1))
		if same, other := m.Match(own, bare(f, 2)), m.Match(own, bare(f+10, 2)); same <= other {
			t.Errorf("finger %d: itself %.2f, another %.2f", f, same, other)
		}
	}
}

// What the standards fix is held to them.
func TestRecordsAreReadStrictly(t *testing.T) {
	own := &Template{Width: 300, Height: 400, Quality: 77, Minutiae: []Minutia{{X: 5, Y: 260, Angle: 64, Quality: 15, Kind: Bifurcation}}}
	for _, x := range []Exchange{ISO19794_2, ANSI378} {
		header, length := isoHeader, 11 // the length's low byte
		if x == ANSI378 {
			header, length = ansiHeader, 9
		}
		// with is the record with a byte of it changed and extended data.
		with := func(at int, to byte, ext string) []byte {
			data, err := own.Export(x)
			if err != nil {
				t.Fatal(err)
			}
			data[at] = to
			data[len(data)-1] = byte(len(ext))
			data = append(data, ext...)
			data[length] = byte(len(data))
			return data
		}
		for name, data := range map[string][]byte{
			"a reserved byte":            with(header-1, 1, ""),
			"finger 11":                  with(header, 11, ""),
			"impression 4":               with(header+1, 4, ""),
			"impression 10":              with(header+1, 10, ""),
			"a reserved bit of y":        with(header+viewHeader+2, 0x41, ""),
			"the other":                  with(header+viewHeader+2, 0x81, ""),
			"extended data of no length": with(header, 0, "\x00\x01"),
			"of length 0":                with(header, 0, "\x00\x01\x00\x00"),
			"of length 3":                with(header, 0, "\x00\x01\x00\x03"),
			"longer than they are":       with(header, 0, "\x00\x01\x00\x06a"),
			"of type 0":                  with(header, 0, "\x00\x00\x00\x05a"),
			"with a rest":                with(header, 0, "\x00\x01\x00\x05ab"),
		} {
			if _, _, err := Import(data); !errors.Is(err, ErrRecord) {
				t.Errorf("%v: %s: %v", x, name, err)
			}
		}
		for name, data := range map[string][]byte{
			"as it is":             with(header, 0, ""),
			"finger 10":            with(header, 10, ""),
			"a swipe, view 2":      with(header+1, 0x28, ""),
			"two of extended data": with(header, 0, "\x00\x01\x00\x05a\x01\x00\x00\x04"),
		} {
			if ts, _, err := Import(data); err != nil || len(ts) != 1 || len(ts[0].Minutiae) != 1 {
				t.Errorf("%v: %s: %v", x, name, err)
			}
		}
		if _, _, err := Import(with(header+1, 9, "")); (err == nil) != (x == ANSI378) {
			t.Errorf("%v: contactless: %v", x, err)
		}
	}
}

// A minutia comes back as clear as it was: the worst too, whose quality of 0 would
// say that none is reported.
func TestRecordsKeepEveryQuality(t *testing.T) {
	for q := range uint8(16) {
		own := &Template{Width: 300, Height: 400, Minutiae: []Minutia{{X: 10, Y: 10, Quality: q, Kind: Ending}}}
		for _, x := range []Exchange{ISO19794_2, ANSI378} {
			data, err := own.Export(x)
			if err != nil {
				t.Fatal(err)
			}
			ts, _, err := Import(data)
			if err != nil || ts[0].Minutiae[0].Quality != q {
				t.Errorf("%v: quality %d: %v, %v", x, q, ts, err)
			}
		}
	}
}

func FuzzImport(f *testing.F) {
	for _, x := range []Exchange{ISO19794_2, ANSI378} {
		data, err := print1(f, 1, 1).Export(x)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)-3])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ts, x, err := Import(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("unnamed: %v", err)
			}
			return
		}
		for _, tm := range ts {
			out, err := tm.Export(x)
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := Import(out)
			if err != nil || len(again) != 1 || len(again[0].Minutiae) != len(tm.Minutiae) {
				t.Fatalf("what was imported does not come back: %v", err)
			}
			Prepare(tm)
		}
	})
}

// exchanged is what is left of a template after an exchange: minutiae alone.
func exchanged(t testing.TB, tm *Template) *Template {
	t.Helper()
	data, err := tm.Export(ISO19794_2)
	if err != nil {
		t.Fatal(err)
	}
	views, _, err := Import(data)
	if err != nil {
		t.Fatal(err)
	}
	return views[0]
}
