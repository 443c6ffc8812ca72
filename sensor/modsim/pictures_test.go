package modsim

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/faceprint/faceprint/sensor"
)

// put writes a picture of one grey, with a mark in its middle.
func put(t *testing.T, dir, name string, width, height int, grey uint8) {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = grey
	}
	img.SetGray(width/2, height/2, color.Gray{0x50})
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

func TestPicturesOfFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "Alice_right-index_1.png", 300, 400, 0x20)
	put(t, dir, "Alice_right-index_2.png", 300, 400, 0x30)
	put(t, dir, "101_1.png", 100, 100, 0x40)
	put(t, dir, "notes.txt", 1, 1, 0)
	ps, err := ReadPictures(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Pictures: ps})
	if err != nil {
		t.Fatal(err)
	}
	// see is the first and the middle pixel, 4 bits each, of what is shown.
	see := func(finger string) (corner, middle byte) {
		t.Helper()
		if _, err := s.Command("touch " + finger); err != nil {
			t.Fatal(err)
		}
		s.capture()
		b := s.packed()
		if len(b) != 192*192/2 {
			t.Fatalf("%d bytes", len(b))
		}
		return b[0] >> 4, b[(96*192+96)/2] >> 4
	}
	first, mark := see("alice right-index")
	second, _ := see("alice right-index")
	third, _ := see("alice right-index")
	if mark != 5 || first+second != 2+3 || first == second || third != first {
		t.Errorf("%d %d %d, the middle is %d", first, second, third, mark)
	}
	if corner, mark := see("101 anything"); corner != 15 || mark != 5 {
		t.Errorf("a small picture: %d beside it, %d in it", corner, mark)
	}
	if see("bob thumb"); s.touch.shown != nil {
		t.Error("somebody who is not in the folder has a picture of it")
	}
}

func TestPicturesThatCannotBeRead(t *testing.T) {
	for name, want := range map[string]string{
		"nothing.txt": "has no pictures", "alice.png": "want a name PERSON_FINGER_IMPRESSION", "a_1.png": "5000 x 10 pixels",
		"b_1.tif": "b_1.tif",
	} {
		dir := t.TempDir()
		if strings.HasSuffix(name, ".png") {
			put(t, dir, name, 5000, 10, 0)
		} else if err := os.WriteFile(filepath.Join(dir, name), []byte("II*\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPictures(dir); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), dir) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadPictures(filepath.Join(t.TempDir(), "none")); err == nil || strings.Count(err.Error(), "none") != 1 {
		t.Error(err)
	}
}

// On a terminal, where the host's patience is of real time, a finger that the module
// says is there has its picture: the one that is drawn when it is asked for elsewhere.
func TestPictureIsThereWithTheFinger(t *testing.T) {
	seen := image.NewGray(image.Rect(0, 0, 40, 40))
	for _, finger := range []string{"alice thumb", "given thumb"} {
		var s [2]*Sim
		for i := range s {
			var err error
			if s[i], err = New(Config{Seed: 1, Pictures: Pictures{"given": {seen}}}); err != nil {
				t.Fatal(err)
			}
		}
		p, err := OpenPTY("")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		command := func(text string) {
			t.Helper()
			for _, s := range s {
				if _, err := s.Command(text); err != nil {
					t.Fatal(err)
				}
			}
		}
		command("touch " + finger) // before anybody serves
		s[0].baudN = 38400 / 9600  // a new terminal's
		serving.Go(func() {
			if err := p.Serve(ctx, s[0]); err != nil {
				t.Error(err)
			}
		})
		ask, err := sensor.AppendPacket(nil, sensor.Packet{Address: sensor.DefaultAddress, PID: sensor.PIDCommand, Content: []byte{byte(sensor.ReadSysPara)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.slave.Write(ask); err != nil {
			t.Fatal(err)
		}
		if _, err := p.slave.Read(make([]byte, 1)); err != nil { // it is served
			t.Fatal(err)
		}
		for _, text := range []string{"state", "touch " + finger, "swap r307", "touch " + finger} {
			command(text)
			for _, s := range s {
				s.mu.Lock()
				s.capture()
			}
			there, want := s[0].touch.drawn, s[1].packed()
			if !bytes.Equal(there, want) {
				t.Errorf("%s: a picture of %d bytes, want another of %d", text, len(there), len(want))
			}
			for _, s := range s {
				s.mu.Unlock()
			}
		}
		if s[1].touch.drawn == nil {
			t.Error("a picture that was asked for is not kept")
		}
		cancel()
		serving.Wait()
		p.Close()
	}
}
