package firmware

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/firmware/vectors"
)

const vectorFile = "testdata/protocol.txt"

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

// body is that of the vectors.
func body(link uint32, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*31 + 7)
	}
	binary.LittleEndian.PutUint32(b, 0x20004000)
	binary.LittleEndian.PutUint32(b[4:], link+0x109)
	return b
}

func keys(t testing.TB) (development, production ed25519.PrivateKey) {
	for _, v := range vectors.Read(t, vectorFile, "key") {
		key := ed25519.NewKeyFromSeed(unhex(t, v["seed"]))
		if !bytes.Equal(key.Public().(ed25519.PublicKey), unhex(t, v["public"])) {
			t.Fatalf("key %s: other public key", v["name"])
		}
		if v["name"] == "development" {
			development = key
		} else {
			production = key
		}
	}
	return development, production
}

func TestImageVectors(t *testing.T) {
	development, production := keys(t)
	if !development.Equal(DevelopmentKey()) {
		t.Error("the development key is another")
	}
	for _, v := range vectors.Read(t, vectorFile, "image") {
		board, ok := BoardByID(number(t, v["board"]))
		if !ok {
			t.Fatalf("no board %s", v["board"])
		}
		link := number(t, v["link"])
		m := &Image{
			Production: v["key"] == "1", Board: board, Link: link, Version: Version(number(t, v["version"])),
			Rollback: number(t, v["rollback"]), Body: body(link, int(number(t, v["size"]))),
		}
		key := development
		if m.Production {
			key = production
		}
		if err := m.Sign(key); err != nil {
			t.Fatal(err)
		}
		want := unhex(t, v["header"])
		got := m.Encode()
		if !bytes.Equal(got[:len(want)], want) || !zero(got[len(want):HeaderSize]) {
			t.Errorf("%s: other header\n%x\n%x", m, got[:HeaderSize], want)
		}
		back, n, err := DecodeImage(append(got, 1, 2, 3))
		if err != nil || n != len(got) || !bytes.Equal(back.Encode(), got) {
			t.Errorf("%s: %d bytes, %v", m, n, err)
		}
		if err := back.Verify(key.Public().(ed25519.PublicKey)); err != nil {
			t.Error(err)
		}
	}
}

func TestVerifyVectors(t *testing.T) {
	for _, v := range vectors.Read(t, vectorFile, "verify") {
		if got := ed25519.Verify(unhex(t, v["public"]), unhex(t, v["message"]), unhex(t, v["signature"])); got != (v["ok"] == "1") {
			t.Errorf("%v: %v", v, got)
		}
	}
}

func image(t testing.TB, board string, slot byte, size int) *Image {
	t.Helper()
	b, err := BoardByName(board)
	if err != nil {
		t.Fatal(err)
	}
	link := b.A
	if slot == 'B' {
		link = b.B
	}
	m := &Image{Board: b, Link: link, Version: 0x01000001, Body: body(link, size)}
	if err := m.Sign(DevelopmentKey()); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNoChangedByteIsTaken(t *testing.T) {
	m := image(t, "microbit", 'A', 1024-HeaderSize)
	whole := m.Encode()
	public := DevelopmentKey().Public().(ed25519.PublicKey)
	for i := range whole {
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(whole)
			b[i] ^= bit
			got, _, err := DecodeImage(b)
			if err == nil {
				err = got.Verify(public)
			}
			if err == nil {
				t.Fatalf("byte %d changed by %#02x was taken", i, bit)
			}
		}
	}
	for n := range whole {
		if _, err := DecodeBundle(whole[:n]); err == nil {
			t.Fatalf("%d bytes of %d were taken", n, len(whole))
		} else if n >= 8 && !errors.Is(err, Torn) {
			t.Fatalf("%d bytes of %d: %v", n, len(whole), err)
		}
	}
}

func TestRefusalsAreNamed(t *testing.T) {
	change := func(at int, v byte) []byte {
		b := image(t, "pico", 'B', 4096-HeaderSize).Encode()
		b[at] = v
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want Refusal
	}{
		"empty":          {nil, NotImage},
		"text":           {bytes.Repeat([]byte("hello world\n"), 100), NotImage},
		"UF2":            {append([]byte("UF2\n"), make([]byte, 508)...), NotImage},
		"ELF":            {append([]byte("\x7fELF"), make([]byte, 508)...), NotImage},
		"key 2":          {change(10, 2), BadHeader},
		"board 9":        {change(12, 9), OtherBoard},
		"huge":           {change(19, 0x7F), BadSize},
		"other link":     {change(21, 0x01), BadHeader},
		"reset outside":  {change(HeaderSize+7, 0x40), BadHeader},
		"changed body":   {change(HeaderSize+100, 0x00), BadDigest},
		"not zero":       {change(70, 1), BadHeader},
		"not zero after": {change(200, 1), BadHeader},
	} {
		if _, err := DecodeBundle(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.want.Advice() == "" {
			t.Errorf("%s: no advice", c.want)
		}
	}
}

func TestSignRefusesWhatNoLoaderTakes(t *testing.T) {
	b, _ := BoardByName("microbit")
	for name, m := range map[string]*Image{
		"odd size":         {Board: b, Link: b.A, Body: body(b.A, 1022)},
		"empty":            {Board: b, Link: b.A, Body: nil},
		"too large":        {Board: b, Link: b.A, Body: body(b.A, int(b.MostBody())+4)},
		"no slot":          {Board: b, Link: 0x1000, Body: body(0x1000, 1024)},
		"linked for other": {Board: b, Link: b.A, Body: body(b.B, 1024)},
	} {
		if err := m.Sign(DevelopmentKey()); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
	if m := (&Image{Board: b, Link: b.B, Body: body(b.B, int(b.MostBody()))}); m.Sign(DevelopmentKey()) != nil {
		t.Error("the largest body was not signed")
	}
}

func TestBundle(t *testing.T) {
	a, b, other := image(t, "microbit", 'A', 5000), image(t, "microbit", 'B', 4000), image(t, "host", 'A', 1024-HeaderSize)
	whole, err := EncodeBundle(a, b, other)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeBundle(whole)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d images, %v", len(got), err)
	}
	if len(whole)%Padding != 0 || got[1].Slot() != 'B' || got[2].Board.Name != "host" {
		t.Errorf("%d bytes: %v", len(whole), got)
	}
	if _, err := EncodeBundle(a, b, a); err == nil {
		t.Error("two images for one slot were joined")
	}
	if _, err := DecodeBundle(append(bytes.Clone(whole), whole...)); !errors.Is(err, BadHeader) {
		t.Errorf("a doubled bundle: %v", err)
	}
	whole[a.Size()] = 0
	if _, err := DecodeBundle(whole); !errors.Is(err, BadHeader) {
		t.Errorf("other padding: %v", err)
	}
}

func TestVersion(t *testing.T) {
	for s, want := range map[string]Version{"0.0.0": 0, "1.2.3": 0x01020003, "255.255.65535": 0xFFFFFFFF} {
		if v, err := ParseVersion(s); err != nil || v != want || v.String() != s {
			t.Errorf("%s: %v %v", s, v, err)
		}
	}
	for _, s := range []string{"", "1", "1.2", "1.2.3.4", "01.2.3", "256.0.0", "1.2.65536", "-1.0.0", "1.2.x", "+1.2.3"} {
		if v, err := ParseVersion(s); err == nil {
			t.Errorf("%q is %v", s, v)
		}
	}
}

func TestKeysAreReadAsOpensslWritesThem(t *testing.T) {
	// openssl genpkey -algorithm ed25519, and its pkey -pubout; from RFC 8410, section 10.
	private := "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n"
	public := "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
	k, err := ParsePrivate([]byte(private))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePublic([]byte(public))
	if err != nil || !p.Equal(k.Public()) {
		t.Errorf("%x, %v", p, err)
	}
	k2, err := ParsePrivate([]byte(hex.EncodeToString(k.Seed()) + "\n"))
	if err != nil || !k2.Equal(k) {
		t.Error("hexadecimal seed", err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("g", 64), public} {
		if _, err := ParsePrivate([]byte(bad)); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzDecodeBundle: what is taken is what would be written.
func FuzzDecodeBundle(f *testing.F) {
	a, _ := EncodeBundle(image(f, "microbit", 'A', 1024-HeaderSize), image(f, "microbit", 'B', 16))
	f.Add(a)
	f.Add(a[:1024])
	f.Fuzz(func(t *testing.T, b []byte) {
		images, err := DecodeBundle(b)
		if err != nil {
			return
		}
		again, err := EncodeBundle(images...)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("taken, but written otherwise: %v", err)
		}
	})
}

// What the boards refuse is refused before it is built into one: for every message in a
// few the signature R = 1, S = 0 is right under such a key.
func TestParsePublicRefusesKeysOfSmallOrder(t *testing.T) {
	forged := make([]byte, ed25519.SignatureSize)
	forged[0] = 1
	for _, text := range small {
		key, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		takes := false
		for i := range 100 {
			takes = takes || ed25519.Verify(key, []byte{byte(i)}, forged)
		}
		// Go's library itself refuses spellings that are not reduced, and what is no point.
		if !takes && text[:2] != "ed" && text[:2] != "ee" {
			t.Errorf("%s is no key of small order", text)
		}
		for _, sign := range []byte{0, 0x80} {
			key[31] |= sign
			if _, err := ParsePublic([]byte(hex.EncodeToString(key))); !errors.Is(err, ErrKey) {
				t.Errorf("%x: %v", key, err)
			}
		}
	}
	good := DevelopmentKey().Public().(ed25519.PublicKey)
	if got, err := ParsePublic([]byte(hex.EncodeToString(good))); err != nil || !got.Equal(good) {
		t.Errorf("%x %v", got, err)
	}
}
