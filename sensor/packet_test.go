package sensor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

// Vectors of the manual and of a real R503 (ReadSysPara).
func TestPacketVectors(t *testing.T) {
	for _, v := range []struct {
		name, wire string
		p          Packet
	}{
		{"VfyPwd(0)", "EF01FFFFFFFF01000713000000" + "00001B", Packet{DefaultAddress, PIDCommand, []byte{0x13, 0, 0, 0, 0}}},
		{"ok", "EF01FFFFFFFF07000300000A", Packet{DefaultAddress, PIDAck, []byte{0}}},
		{"GenImg", "EF01FFFFFFFF010003010005", Packet{DefaultAddress, PIDCommand, []byte{1}}},
		{"ReadSysPara", "EF01FFFFFFFF0100030F0013", Packet{DefaultAddress, PIDCommand, []byte{0x0F}}},
		{"TempleteNum", "EF01FFFFFFFF0100031D0021", Packet{DefaultAddress, PIDCommand, []byte{0x1D}}},
		{"a real R503", "EF01FFFFFFFF07001300000400" + "0000C80003FFFFFFFF0002000604ED", Packet{DefaultAddress, PIDAck, unhex("00" + "0004000000C80003FFFFFFFF00020006")}},
	} {
		wire := unhex(v.wire)
		got, err := AppendPacket(nil, v.p)
		if err != nil || !bytes.Equal(got, wire) {
			t.Errorf("%s: written % X, want % X (%v)", v.name, got, wire, err)
		}
		p, n, err := DecodePacket(wire)
		if err != nil || n != len(wire) || p.PID != v.p.PID || p.Address != v.p.Address || !bytes.Equal(p.Content, v.p.Content) {
			t.Errorf("%s: read %+v %d %v", v.name, p, n, err)
		}
		for i := range wire {
			if _, _, err := DecodePacket(wire[:i]); !errors.Is(err, ErrShort) {
				t.Errorf("%s: %d of %d bytes: %v", v.name, i, len(wire), err)
			}
		}
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestReassemblerFindsPacketsInGarbage(t *testing.T) {
	good, _ := AppendPacket(nil, Packet{DefaultAddress, PIDAck, []byte{0, 1, 2}})
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1]++
	stream := append([]byte{0x55, 0x00, 0xEF, 0xEF, 0x01}, damaged...)
	stream = append(stream, 0xEF)
	stream = append(stream, good...)
	var r Reassembler
	sums, packets := 0, 0
	for _, b := range append(stream, good...) { // one byte at a time
		r.Write([]byte{b})
		for {
			p, err := r.Next()
			if errors.Is(err, ErrSum) {
				sums++
				continue
			}
			if err != nil {
				break
			}
			if !bytes.Equal(p.Content, []byte{0, 1, 2}) {
				t.Fatalf("content % X", p.Content)
			}
			packets++
		}
	}
	if sums != 1 || packets != 2 {
		t.Errorf("%d damaged and %d whole packets, want 1 and 2", sums, packets)
	}
}

// What was read, somebody's template perhaps, does not stay behind in memory, also
// where the room has to grow.
func TestReassemblerWipesWhatWasRead(t *testing.T) {
	secret := bytes.Repeat([]byte("SECRET"), 40)
	b, err := AppendPacket(nil, Packet{Address: DefaultAddress, PID: PIDEndData, Content: secret})
	if err != nil {
		t.Fatal(err)
	}
	var r Reassembler
	var rooms [][]byte // all that it ever had
	write := func(b []byte) {
		r.Write(b)
		rooms = append(rooms, r.all[:cap(r.all)])
	}
	write(b[:10])
	write(b[10:])
	write(b)
	for range 2 {
		if p, err := r.Next(); err != nil || !bytes.Equal(p.Content, secret) {
			t.Fatalf("%q, %v", p.Content, err)
		}
	}
	write(b[:200])
	r.Reset()
	write([]byte{1})
	for i, room := range rooms {
		if bytes.Contains(room, []byte("SECRET")) {
			t.Errorf("after write %d: %q", i, room)
		}
	}
}

func FuzzDecodePacket(f *testing.F) {
	f.Add(unhex("EF01FFFFFFFF07000300000A"))
	f.Add(unhex("EF01FFFFFFFF0100071300000000001B"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, err := DecodePacket(b)
		if err != nil {
			if errors.Is(err, ErrShort) != (n == 0) {
				t.Fatalf("skips %d bytes with %v", n, err)
			}
			return
		}
		again, err := AppendPacket(nil, p)
		if err != nil || !bytes.Equal(again, b[:n]) {
			t.Fatalf("% X was accepted, but would be written % X (%v)", b[:n], again, err)
		}
	})
}

// Whatever comes, the reassembler consumes it and ends.
func FuzzReassembler(f *testing.F) {
	f.Add(unhex("55EF01FFFFFFFF07000300000AEF01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reassembler
		r.Write(b)
		for range 2*len(b) + 1 {
			if _, err := r.Next(); errors.Is(err, ErrShort) {
				return
			}
		}
		t.Fatal("it does not end")
	})
}
