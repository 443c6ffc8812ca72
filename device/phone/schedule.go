package phone

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Schedule says when a phone's rights hold, in the device's local time. The
// zero Schedule is always.
type Schedule []Window

// Window is a time of day on some days of the week.
type Window struct {
	First, Last time.Weekday // Monday to Sunday, First is not after Last in that week
	From, To    int          // minutes of the day, 0 to 1440, From before To
}

// errSchedule says how one is written.
var errSchedule = errors.New("write it like mon-fri 08:00-18:00, sat 09:00-12:00")

var dayNames = [...]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// place of a day in a week that begins with Monday.
func place(d time.Weekday) int { return (int(d) + 6) % 7 }

func (s Schedule) String() string {
	var parts []string
	for _, w := range s {
		days := dayNames[place(w.First)]
		if w.Last != w.First {
			days += "-" + dayNames[place(w.Last)]
		}
		parts = append(parts, fmt.Sprintf("%s %02d:%02d-%02d:%02d", days, w.From/60, w.From%60, w.To/60, w.To%60))
	}
	return strings.Join(parts, ", ")
}

// maxWindows is more than a week needs.
const maxWindows = 14

// ParseSchedule accepts what String writes and nothing else.
func ParseSchedule(text string) (Schedule, error) {
	if text == "" {
		return nil, nil
	}
	var s Schedule
	for part := range strings.SplitSeq(text, ", ") {
		w, ok := parseWindow(part)
		if !ok || len(s) == maxWindows {
			return nil, fmt.Errorf("phone: schedule %.40q: %w", text, errSchedule)
		}
		s = append(s, w)
	}
	if s.String() != text {
		return nil, fmt.Errorf("phone: schedule %.40q: %w", text, errSchedule)
	}
	return s, nil
}

func parseWindow(text string) (w Window, ok bool) {
	days, times, ok := strings.Cut(text, " ")
	if !ok {
		return w, false
	}
	first, last, ranged := strings.Cut(days, "-")
	if !ranged {
		last = first
	}
	var a, b bool
	w.First, a = parseDay(first)
	w.Last, b = parseDay(last)
	if !a || !b || place(w.First) > place(w.Last) {
		return w, false
	}
	from, to, ok := strings.Cut(times, "-")
	if !ok {
		return w, false
	}
	w.From, a = parseClock(from)
	w.To, b = parseClock(to)
	return w, a && b && w.From < w.To
}

func parseDay(s string) (time.Weekday, bool) {
	for i, name := range dayNames {
		if s == name {
			return time.Weekday((i + 1) % 7), true
		}
	}
	return 0, false
}

// parseClock reads hh:mm up to 24:00.
func parseClock(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	digits := s[:2] + s[3:]
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	h, m := n/100, n%100
	return 60*h + m, m < 60 && 60*h+m <= 24*60
}

// Holds tells whether the moment, in its own time zone, is within.
func (s Schedule) Holds(at time.Time) bool {
	if len(s) == 0 {
		return true
	}
	minute := 60*at.Hour() + at.Minute()
	for _, w := range s {
		if d := place(at.Weekday()); d >= place(w.First) && d <= place(w.Last) && minute >= w.From && minute < w.To {
			return true
		}
	}
	return false
}

// Until is when the schedule ceases to hold, of a moment at which it holds; the zero
// time for never.
func (s Schedule) Until(at time.Time) (end time.Time) {
	minute := 60*at.Hour() + at.Minute()
	for _, w := range s {
		if d := place(at.Weekday()); d >= place(w.First) && d <= place(w.Last) && minute >= w.From && minute < w.To {
			if e := time.Date(at.Year(), at.Month(), at.Day(), 0, w.To, 0, 0, at.Location()); e.After(end) {
				end = e
			}
		}
	}
	return end
}
