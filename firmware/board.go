package firmware

import (
	"fmt"
	"strconv"
	"strings"
)

// Board is a kind of guard board (PROTOCOL.md, section 1).
type Board struct {
	ID   uint32
	Name string
	// A and B are the addresses of the slots, Slot the size of each and Page
	// what one erase clears, in bytes.
	A, B, Slot, Page uint32
}

// Boards that there are.
var Boards = []Board{
	{1, "host", 0x00008000, 0x00020000, 96 << 10, 1 << 10},
	{2, "microbit", 0x00008000, 0x00020000, 96 << 10, 1 << 10},
	{3, "pico", 0x10010000, 0x10080000, 448 << 10, 4 << 10},
}

// BoardByID finds one.
func BoardByID(id uint32) (Board, bool) {
	for _, b := range Boards {
		if b.ID == id {
			return b, true
		}
	}
	return Board{}, false
}

// BoardByName finds one; the error lists those that there are.
func BoardByName(name string) (Board, error) {
	var names []string
	for _, b := range Boards {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return Board{}, fmt.Errorf("firmware: there is no board %q; there are %s", name, strings.Join(names, ", "))
}

// SlotName is 'A' or 'B' for an address that a slot begins at, else 0.
func (b Board) SlotName(link uint32) byte {
	switch link {
	case b.A:
		return 'A'
	case b.B:
		return 'B'
	}
	return 0
}

// MostBody is the largest body that fits into a slot beside its header and trailer.
func (b Board) MostBody() uint32 { return b.Slot - HeaderSize - b.Page }

// Version is major << 24 | minor << 16 | patch.
type Version uint32

func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d", uint32(v)>>24, uint32(v)>>16&0xFF, uint32(v)&0xFFFF)
}

// ParseVersion reads what String writes.
func ParseVersion(s string) (Version, error) {
	parts := strings.Split(s, ".")
	var n [3]uint64
	if len(parts) == 3 {
		for i, bits := range []int{8, 8, 16} {
			var err error
			if n[i], err = strconv.ParseUint(parts[i], 10, bits); err != nil {
				parts = nil
				break
			}
		}
		if v := Version(n[0]<<24 | n[1]<<16 | n[2]); parts != nil && v.String() == s {
			return v, nil
		}
	}
	return 0, fmt.Errorf("firmware: %q is no version like 1.2.3 (at most 255.255.65535)", s)
}
