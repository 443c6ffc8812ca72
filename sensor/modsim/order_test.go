package modsim

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// touching is a module that draws each touch before the finger is there, and what its wake
// line says.
func touching(t *testing.T) (*Sim, *[]bool) {
	t.Helper()
	var said []bool
	s, err := New(Config{Seed: 1, Wake: func(touched bool) { said = append(said, touched) }})
	if err != nil {
		t.Fatal(err)
	}
	s.drawAhead()
	return s, &said
}

func obey(t *testing.T, s *Sim, command string) {
	if _, err := s.Command(command); err != nil {
		t.Errorf("%s: %v", command, err)
	}
}

// A finger is lifted after it lies there, however long that takes to be drawn.
func TestLiftBehindATouch(t *testing.T) {
	s, said := touching(t)
	s.grown.mu.Lock() // nothing is drawn
	var hands sync.WaitGroup
	hands.Go(func() { obey(t, s, "touch alice thumb") })
	for begun := false; !begun; {
		runtime.Gosched()
		s.mu.Lock()
		begun = s.touches > 0
		s.mu.Unlock()
	}
	hands.Go(func() { obey(t, s, "lift") })
	for range 1000 { // it would be done by then
		runtime.Gosched()
	}
	s.grown.mu.Unlock()
	hands.Wait()
	if s.touch != nil || !slices.Equal(*said, []bool{true, false}) {
		t.Errorf("a finger lies there: %v; the wake line said %v", s.touch != nil, *said)
	}
}

// What waits for a touch is done in the order in which it was asked for.
func TestTouchesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, said := touching(t)
		release := s.takeHand()
		for _, command := range []string{"touch alice thumb", "lift", "touch alice thumb 0.9", "lift", "touch alice thumb 0.8"} {
			go obey(t, s, command)
			synctest.Wait()
		}
		if len(*said) > 0 {
			t.Errorf("the wake line said %v", *said)
		}
		release()
		synctest.Wait()
		if !slices.Equal(*said, []bool{true, false, true, false, true}) || s.touch == nil || s.touch.press != 0.8 {
			t.Errorf("the wake line said %v", *said)
		}
	})
}
