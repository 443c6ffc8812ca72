package main

import (
	"bytes"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

func TestSearchFindsTheFingersOfAFolder(t *testing.T) {
	a, _, _ := touches(t)
	cmd := fingerCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--search", "3", filepath.Dir(a)})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	// Finger 1 has two impressions, finger 2 one.
	for _, want := range []string{"4 fingers, 3 of them synthetic; 1 probes: the right one is first for 1", "comparing all finds 1 and searching 1: the first stage loses 0 of them, the second 0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q in %s", want, out.String())
		}
	}
}

// A tail that is known is found, and its bound is above it.
func TestTail(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	c := tailed{fingers: 60, all: 60 * 59 / 2 * 20}
	for a := range c.fingers {
		for b := a + 1; b < c.fingers; b++ {
			for range 20 {
				c.add(&c.scores, comparison{a: a, b: b, score: -2 + 0.3*r.ExpFloat64()}) // 10^-n at -2 + 0.69 n
			}
		}
	}
	one := make([]int, c.fingers)
	for i := range one {
		one[i] = 1
	}
	u := threshold(c.scores, int(c.all*tailShare))
	fit := fitTail(c.scores, u, c.all, one)
	for _, decades := range []float64{4, 8} {
		s := -2 + 0.3*math.Ln10*decades
		if got := fit.at(s); math.Abs(got+decades) > 0.3*decades {
			t.Errorf("10^%.2f at %.2f, want 10^-%g", got, s, decades)
		}
		upper, xi := c.bounds(u, []float64{s})
		if upper[0] < -decades || upper[0] > -0.4*decades || xi[0] > 0 || xi[1] < -0.3 {
			t.Errorf("at most 10^%.2f at %.2f, shape %v", upper[0], s, xi)
		}
	}
}
