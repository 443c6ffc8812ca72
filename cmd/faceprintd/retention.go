package main

import "github.com/faceprint/faceprint/device"

type keepConfig struct {
	Unused   duration `toml:"unused" comment:"People who were not let in for so long are erased; 0s keeps them. Three years is the most that Illinois' BIPA allows."`
	Longest  duration `toml:"longest" comment:"And all so long after they were enrolled, however often they come; 0s: no limit."`
	Announce duration `toml:"announce" comment:"How long before their erasure is announced, in the audit chain and as an event."`
	Audit    int      `toml:"audit" comment:"How many audit entries are kept; older ones are replaced by a signed checkpoint. 0 keeps all."`
}

// policy is the same for the device.
func (c keepConfig) policy() device.Retention {
	return device.Retention{Unused: c.Unused.Duration, Longest: c.Longest.Duration, Announce: c.Announce.Duration, Entries: c.Audit}
}

// check refuses values that make no sense.
func (c keepConfig) check(wrong func(key, format string, a ...any)) {
	for key, d := range map[string]duration{"retention.unused": c.Unused, "retention.longest": c.Longest, "retention.announce": c.Announce} {
		switch {
		case d.text != "":
			wrong(key, "%q is no duration; write it like 26280h", d.text)
		case d.Duration < 0:
			wrong(key, "must not be negative")
		}
	}
	if c.Audit < 0 {
		wrong("retention.audit", "%d must not be negative", c.Audit)
	}
}
