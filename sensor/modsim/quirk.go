package modsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faceprint/faceprint/sensor"
)

// quirkText says what each quirk does. Those that take a number happen at every
// so many.
var quirkText = map[string]string{
	"spurious01":  "Match answers 01 first, then properly (optical units)",
	"shortlast":   "the last data packet of a template has only two bytes",
	"noend":       "the last data packet is 02, not 08 (DY50)",
	"blank":       "templates are uploaded as FF",
	"glitch":      "a 00 precedes everything at power-up",
	"noready":     "no 55 at power-up",
	"noimage":     "takes no picture from the host: DownImage is unknown to it",
	"noinfo":      "knows no ReadProdInfo",
	"nopage":      "knows no ReadInfPage",
	"noindex":     "knows no ReadIndexTable",
	"buffers":     "N: has so many char buffers",
	"oldfirmware": "knows neither GetImageEx nor HandShake",
	"dazed":       "an instruction that comes into an animation of the lamp makes it hang",
	"foreign":     "answers 20 with its own address when another is called, where the manual says nothing",
	"oldaddress":  "answers a change of its address from the old one",
	"decimal":     "AutoEnroll reports its steps 10 to 12 as 10 to 12 hex, as the manual prints them",
	"baudnow":     "a new rate holds from the next packet on, not from the next power-up",
	"badsum":      "N: every Nth packet has a wrong checksum",
	"flip":        "N: every Nth byte that is sent is damaged",
	"half":        "N: every Nth packet stops in the middle",
	"noload":      "N: answers N to LoadChar, 1 where there is none",
	"noupload":    "N: answers N to UpChar, 1 where there is none",
	"forget":      "N: every Nth instruction is answered 21, as after a reset",
}

// lieText says how a malicious module answers.
var lieText = map[string]string{
	"honest":    "as it should",
	"yes":       "every comparison matches",
	"fast":      "every comparison matches, before it could have been made",
	"same":      "every comparison matches, always with the same score",
	"second":    "the second comparison of each scan matches, always with the same score",
	"guess":     "one comparison in three matches",
	"stored":    "a search finds somebody at random, and whatever was stored in the library matches",
	"sticks":    "a search finds somebody at random, and that one alone matches then",
	"shy":       "sticks, but answers 01 to whoever reads a slot right behind a search",
	"feigns":    "no search finds anybody, the second template of each scan matches, that one alone then, and another is returned",
	"alters":    "honest comparisons, but what is read from the library is not what was stored",
	"withholds": "honest comparisons, but what was stored in the library cannot be read (0C)",
	"noisy":     "honest comparisons, but what is read from the library is another each time",
	"knows":     "every comparison matches, but with what it made of the host's pictures: it knows its decoys",
}

func (s *Sim) setQuirk(args []string) error {
	if len(args) == 0 || len(args) > 2 || quirkText[args[0]] == "" {
		var lines []string
		for name, text := range quirkText {
			lines = append(lines, fmt.Sprintf("  %-11s %s", name, text))
		}
		slices.Sort(lines)
		return fmt.Errorf("modsim: quirk NAME [off|N], with NAME one of\n%s", strings.Join(lines, "\n"))
	}
	n := 1
	if len(args) == 2 {
		var err error
		switch args[1] {
		case "off":
			n = 0
		case "on":
		default:
			if n, err = strconv.Atoi(args[1]); err != nil || n < 0 {
				return fmt.Errorf("modsim: quirk %s: %q is neither on, off nor a number", args[0], args[1])
			}
		}
	}
	s.quirks[args[0]] = n
	return nil
}

func (s *Sim) setLie(args []string) error {
	if len(args) != 1 || lieText[args[0]] == "" {
		return fmt.Errorf("modsim: lie HOW, with HOW one of honest, yes, fast, same, second, guess, stored, sticks, shy, feigns, knows, alters, withholds, noisy")
	}
	s.lie = args[0]
	if s.lie == "honest" {
		s.lie = ""
	}
	return nil
}

// misbehave gives the quirks of sending their turn.
func (s *Sim) misbehave(p sensor.Packet, b []byte) []byte {
	s.packets++
	every := func(name string) bool {
		n := s.quirks[name]
		return n > 0 && s.packets%uint64(n) == 0
	}
	if every("badsum") {
		b[len(b)-1]++
	}
	if every("half") {
		b = b[:len(b)/2]
	}
	if n := s.quirks["flip"]; n > 0 {
		for i := range b {
			if (s.passed[1]+i)%n == n-1 {
				b[i] ^= 0x10
			}
		}
	}
	if p.PID != sensor.PIDAck {
		return b
	}
	if s.recent[0].of != s.current { // keep the newest of this and of another instruction
		s.recent[1] = s.recent[0]
	}
	s.recent[0] = answered{s.current, slices.Clone(p.Content)}
	i := slices.IndexFunc(s.faults, func(f fault) bool { return f.kind == "wrong" && s.passed[1] >= f.at })
	if other := s.recent[1].content; i >= 0 && other != nil {
		s.faults = slices.Delete(s.faults, i, i+1)
		b, _ = sensor.AppendPacket(nil, sensor.Packet{Address: s.address, PID: sensor.PIDAck, Content: other})
	}
	return b
}

// answered is the newest answer to an instruction.
type answered struct {
	of      sensor.Instruction
	content []byte
}

// fault happens to the bytes of one direction, once.
type fault struct {
	kind string
	out  int // 0 to the module, 1 to the host
	at   int // bytes of that direction after which it happens
	n    int
}

var faultText = map[string]string{
	"drop":   "N bytes are lost",
	"flip":   "the bits N of one byte are inverted",
	"insert": "N bytes of noise come in between",
	"dup":    "the packet comes N times more",
	"delay":  "the packet is N milliseconds late",
	"cut":    "everything after is lost until 'fault clear'",
	"wrong":  "the next answer is that of another instruction (out only)",
}

func (s *Sim) setFault(args []string) error {
	if len(args) == 1 && args[0] == "clear" {
		s.faults, s.passed = nil, [2]int{}
		return nil
	}
	usage := func() error {
		var lines []string
		for name, text := range faultText {
			lines = append(lines, fmt.Sprintf("  %-7s %s", name, text))
		}
		slices.Sort(lines)
		return fmt.Errorf("modsim: fault in|out KIND AFTER-BYTES [N], or fault clear; in is to the module; KIND is one of\n%s", strings.Join(lines, "\n"))
	}
	if len(args) < 3 || len(args) > 4 || faultText[args[1]] == "" || args[0] != "in" && args[0] != "out" {
		return usage()
	}
	f := fault{kind: args[1], n: 1}
	if args[0] == "out" {
		f.out = 1
	}
	var err error
	if f.at, err = strconv.Atoi(args[2]); err != nil || f.at < 0 {
		return usage()
	}
	if len(args) == 4 {
		if f.n, err = strconv.Atoi(args[3]); err != nil || f.n < 0 || f.n > 1<<20 {
			return usage()
		}
	}
	s.faults = append(s.faults, f)
	return nil
}

// disturb does to bytes of a direction what the line does to them.
func (s *Sim) disturb(out int, b []byte) ([]byte, time.Duration) {
	from := s.passed[out]
	s.passed[out] += len(b)
	for i := range b {
		if s.garble > 0 && s.rand.Float64() < s.garble {
			b[i] ^= byte(1 + s.rand.IntN(255))
		}
	}
	var late time.Duration
	kept := s.faults[:0]
	for _, f := range s.faults {
		at := f.at - from
		if f.kind == "cut" && f.out == out {
			b = b[:min(max(at, 0), len(b))]
		}
		if f.kind == "cut" || f.kind == "wrong" || f.out != out || at >= len(b) {
			kept = append(kept, f)
			continue
		}
		at = min(max(at, 0), len(b)) // another fault may have shortened it
		switch f.kind {
		case "drop":
			b = slices.Delete(b, at, min(at+f.n, len(b)))
		case "flip":
			if at < len(b) {
				b[at] ^= byte(f.n)
			}
		case "insert":
			noise := make([]byte, f.n)
			s.noise(noise)
			b = slices.Insert(b, at, noise...)
		case "dup":
			one := slices.Clone(b)
			for range min(f.n, 100) {
				b = append(b, one...)
			}
		case "delay":
			late += time.Duration(f.n) * time.Millisecond
		}
	}
	s.faults = kept
	return b, late
}
