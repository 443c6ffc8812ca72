package board

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"testing"

	"github.com/faceprint/faceprint/firmware/vectors"
)

const vectorFile = "../testdata/protocol.txt"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	if s == "-" {
		return []byte{}
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func number(t testing.TB, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestFrameVectors(t *testing.T) {
	for _, v := range vectors.Read(t, vectorFile, "cobs") {
		raw, block := unhex(t, v["raw"]), unhex(t, v["block"])
		if got := encode(raw); !bytes.Equal(got, append(append([]byte{0}, block...), 0)) {
			t.Errorf("%x is encoded as %x", raw, got)
		}
		if got, err := decode(block); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%x is decoded as %x, %v", block, got, err)
		}
	}
	for _, v := range vectors.Read(t, vectorFile, "badcobs") {
		if got, err := decode(unhex(t, v["block"])); err == nil {
			t.Errorf("%s is taken as %x", v["block"], got)
		}
	}
	for _, v := range vectors.Read(t, vectorFile, "plain") {
		wire := unhex(t, v["wire"])
		if got := encode(plain(byte(number(t, v["type"])), unhex(t, v["body"]))); !bytes.Equal(got, wire) {
			t.Errorf("%v is %x", v, got)
		}
		raw, err := decode(wire[1 : len(wire)-1])
		if err != nil {
			t.Fatal(err)
		}
		kind, body, err := openPlain(raw)
		if err != nil || kind != byte(number(t, v["type"])) || !bytes.Equal(body, unhex(t, v["body"])) {
			t.Errorf("%v: %02x %x %v", v, kind, body, err)
		}
	}
}

func TestSessionVectors(t *testing.T) {
	s := vectors.Read(t, vectorFile, "session")[0]
	toBoard, toHost := sessionKeys(unhex(t, s["key"]), unhex(t, s["host"]), unhex(t, s["board"]), unhex(t, s["serial"]))
	if !bytes.Equal(toBoard, unhex(t, s["toboard"])) || !bytes.Equal(toHost, unhex(t, s["tohost"])) {
		t.Errorf("session keys are %x and %x", toBoard, toHost)
	}
	for _, v := range vectors.Read(t, vectorFile, "sealed") {
		key := toBoard
		if v["to"] == "host" {
			key = toHost
		}
		kind, counter, body, wire := byte(number(t, v["type"])), number(t, v["counter"]), unhex(t, v["body"]), unhex(t, v["wire"])
		if got := encode(seal(key, kind, counter, body)); !bytes.Equal(got, wire) {
			t.Errorf("%v is %x", v, got)
		}
		raw, err := decode(wire[1 : len(wire)-1])
		if err != nil {
			t.Fatal(err)
		}
		k, c, b, err := openSealed(key, raw)
		if err != nil || k != kind || c != counter || !bytes.Equal(b, body) {
			t.Errorf("%v: %02x %d %x %v", v, k, c, b, err)
		}
		for i := range raw {
			raw[i] ^= 1
			if _, _, _, err := openSealed(key, raw); err == nil {
				t.Errorf("%v is taken with byte %d changed", v, i)
			}
			raw[i] ^= 1
		}
	}
	for _, v := range vectors.Read(t, vectorFile, "pair") {
		if got := pairProof(unhex(t, v["key"]), unhex(t, v["serial"])); !bytes.Equal(got, unhex(t, v["proof"])) {
			t.Errorf("proof is %x", got)
		}
	}
}

// FuzzDecode: a block that is taken is the one that would be written.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors.Read(f, vectorFile, "cobs") {
		f.Add(unhex(f, v["block"]))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		raw, err := decode(block)
		if err != nil {
			return
		}
		if got := encode(raw); !bytes.Equal(got[1:len(got)-1], block) || len(raw) > mostRaw {
			t.Fatalf("%x is taken as %x", block, raw)
		}
	})
}

// FuzzAnswers: an answer's body that is taken is the one that would be written.
func FuzzAnswers(f *testing.F) {
	f.Add(Info{Slot: 'A', Flags: 3, Link: 1, Board: 2}.encode())
	f.Add(Status{Link: 2, Lock: 1, Inputs: 9, Shuts: 5e9}.encode())
	f.Add(Events{Oldest: 1, Newest: 2, Events: []Event{{Sequence: 1, Code: 1}, {Sequence: 2, Code: 6, Argument: 50}}}.encode())
	f.Add(SelfTest{Passed: 63, StackUsed: 700, StackSize: 2048}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, got []byte) {
			if !bytes.Equal(got, b) {
				t.Fatalf("%s: %x is taken as %x", what, b, got)
			}
		}
		if v, err := decodeInfo(b); err == nil {
			same("info", v.encode())
		}
		if v, err := decodeStatus(b); err == nil {
			same("status", v.encode())
		}
		if v, err := decodeEvents(b); err == nil {
			same("events", v.encode())
			for _, e := range v.Events {
				_ = e.String()
			}
		}
		if v, err := decodeSelfTest(b); err == nil {
			same("self-test", v.encode())
			_ = v.Failed()
		}
	})
}

// FuzzLoaderInfo: what is taken of a loader's text is what would be written.
func FuzzLoaderInfo(f *testing.F) {
	f.Add("faceprint-loader 1.0.0 board=2 serial=0123456789abcdef key=development floor=0\nslot A 1.0.0 rollback=0 sequence=1 confirmed\nslot B empty\ntarget B 0x00020000\n")
	f.Add("faceprint-loader 1.0.0 board=3 serial=0123456789abcdef key=production floor=7\nslot A bad digest\nslot B 1.0.0 rollback=0 sequence=1 tried\ntarget A 0x10010000\n")
	f.Fuzz(func(t *testing.T, text string) {
		if i, err := parseLoaderInfo(text); err == nil && i.String() != text {
			t.Fatalf("%q is taken as %q", text, i.String())
		}
	})
}
