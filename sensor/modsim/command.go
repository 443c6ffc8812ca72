package modsim

import (
	"fmt"
	"strconv"
	"strings"
)

// Help lists the commands.
const Help = `touch PERSON FINGER [PRESS]  lay a finger on the sensor; PRESS 0 to 1, below 0.2 is too light
lift                         take it away
unplug, plug                 pull the cable and put it back: the module starts anew
mute, unmute                 hear nothing, or hear again, without losing power
garble PERCENT               damage that share of the bytes both ways; 0 stops it
quirk NAME [off|N]           a habit of bad units; "quirk" alone lists them
fault in|out KIND AT [N]     something that happens to the line once; "fault" alone lists it
lie HOW                      a malicious module: yes, fast, same, second, guess, stored, sticks, shy, feigns,
                             knows, alters, withholds, noisy; honest ends it
hang                         hear nothing until the power is cut: unplug, plug
plant SLOT PERSON FINGER     put a template into the library behind the host's back
rot SLOT                     have a slot of the library read another each time: a bad flash cell
swap [MODEL]                 exchange the module for a factory-new one: r503, r307, as608
state                        what the module is doing`

// Command carries out one text command and returns its answer.
func (s *Sim) Command(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return "", fmt.Errorf("modsim: no command; there are:\n%s", Help)
	}
	args := words[1:]
	bad := func() (string, error) {
		return "", fmt.Errorf("modsim: %q is not understood; there are:\n%s", line, Help)
	}
	if words[0] == "touch" && (len(args) == 2 || len(args) == 3) {
		press := 1.0
		if len(args) == 3 {
			v, err := strconv.ParseFloat(args[2], 64)
			if err != nil || !(v >= 0 && v <= 1) {
				return bad()
			}
			press = v
		}
		s.lay(args[0], args[1], press)
		return "", nil
	}
	if words[0] == "lift" || words[0] == "swap" {
		defer s.takeHand()()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch word := words[0]; {
	case word == "lift" && len(args) == 0:
		s.touch = nil
		s.wakes()
	case word == "unplug" && len(args) == 0:
		s.plugged = false
	case word == "plug" && len(args) == 0:
		s.plugged = true
		s.start()
	case word == "mute" && len(args) == 0:
		s.mute = true
	case word == "unmute" && len(args) == 0:
		s.mute = false
	case word == "hang" && len(args) == 0:
		s.hung = true
	case word == "plant" && len(args) == 3:
		slot, err := strconv.Atoi(args[0])
		if err != nil || slot < 0 || slot >= s.p.Capacity {
			return bad()
		}
		s.library[slot] = encode(s.p.Model, newFinger(args[1], args[2]).features(0, 1), s.p.Buffers, s.p.TemplateSize)
	case word == "rot" && len(args) == 1:
		slot, err := strconv.Atoi(args[0])
		if err != nil || slot < 0 || slot >= s.p.Capacity {
			return bad()
		}
		s.rotten[slot] = true
	case word == "garble" && len(args) == 1:
		v, err := strconv.ParseFloat(strings.TrimSuffix(args[0], "%"), 64)
		if err != nil || !(v >= 0 && v <= 100) {
			return bad()
		}
		s.garble = v / 100
	case word == "quirk":
		return "", s.setQuirk(args)
	case word == "fault":
		return "", s.setFault(args)
	case word == "lie":
		return "", s.setLie(args)
	case word == "swap" && len(args) <= 1:
		p := s.p
		if len(args) == 1 {
			var ok bool
			if p, ok = Personalities[args[0]]; !ok {
				return bad()
			}
		}
		s.p = p
		if t := s.touch; t != nil && s.ahead {
			t.drawn = s.grown.draw(t, p)
		}
		s.factory()
		s.start()
	case word == "state" && len(args) == 0:
		return s.state(), nil
	case word == "help":
		return Help, nil
	default:
		return bad()
	}
	return "", nil
}

func (s *Sim) state() string {
	finger := "none"
	if s.touch != nil {
		finger = fmt.Sprintf("touch %d", s.touch.number)
	}
	lie := s.lie
	if lie == "" {
		lie = "honest"
	}
	return fmt.Sprintf("model %s serial %s baud %d plugged %v started %v mute %v hung %v garble %g%% finger %s library %d commands %d settings %d %s lamp %s",
		strings.ToLower(s.p.Model), s.serial, s.baud(), s.plugged, s.ready.IsZero(), s.mute, s.hung, 100*s.garble, finger, len(s.library), s.commands, s.settings, lie, s.lamp)
}
