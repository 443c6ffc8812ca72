package client

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vectors are the protocol for other languages: every value that goes in, every
// text on the way, every value that comes out. Nothing in them is secret.
type vectors struct {
	About      string `json:"about"`
	Invitation struct {
		Addr   string `json:"addr"`
		Pin    string `json:"pin_hex"`
		Secret string `json:"secret_hex"`
		Text   string `json:"text"`
		Name   string `json:"name"`
	} `json:"invitation"`
	Phone struct {
		Private string `json:"private_hex"`
		Public  string `json:"public_hex"`
		ID      string `json:"id"`
	} `json:"phone"`
	Pairing struct {
		Binding       string `json:"binding_hex"`
		Kind          Kind   `json:"kind"`
		Name          string `json:"name"`
		Platform      string `json:"platform"`
		User          string `json:"user"`
		PhoneMessage  string `json:"phone_message"`
		PhoneProof    string `json:"phone_proof"`
		DeviceMessage string `json:"device_message"`
		DeviceProof   string `json:"device_proof"`
	} `json:"pairing"`
	Requests []requestVector `json:"requests"`
}

type requestVector struct {
	Method        string `json:"method"`
	Target        string `json:"target"`
	Counter       uint64 `json:"counter"`
	Binding       string `json:"binding_hex"`
	Body          string `json:"body"`
	Message       string `json:"message"`
	Signature     string `json:"signature_rfc6979_hex"`
	Authorization string `json:"authorization"`
}

// ascending is bytes that are plainly nobody's secret.
func ascending(n int, from byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

// generate makes the vectors. Signatures are deterministic (RFC 6979), so that
// the file is reproducible; phones may sign with any nonce.
func generate(t *testing.T) vectors {
	t.Helper()
	var v vectors
	v.About = "Test vectors of faceprint's paired-phone protocol, version 1. HMAC is HMAC-SHA256 keyed with the invitation's secret; signatures are ECDSA P-256 with SHA-256 over the UTF-8 of message, r||s. base64url has no padding."
	inv := Invitation{Addr: "192.168.1.20:7443"}
	copy(inv.Pin[:], ascending(PinSize, 0x40))
	copy(inv.Secret[:], ascending(SecretSize, 0xf0))
	v.Invitation.Addr, v.Invitation.Text, v.Invitation.Name = inv.Addr, inv.Text(), inv.Secret.Name()
	v.Invitation.Pin, v.Invitation.Secret = hex.EncodeToString(inv.Pin[:]), hex.EncodeToString(inv.Secret[:])

	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), ascending(32, 1))
	if err != nil {
		t.Fatal(err)
	}
	key, err := PublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	v.Phone.Private, v.Phone.Public, v.Phone.ID = hex.EncodeToString(ascending(32, 1)), hex.EncodeToString(key[:]), key.ID()

	var binding Binding
	copy(binding[:], ascending(BindingSize, 0x80))
	a := Applicant{Key: key, Kind: App, Name: "Alice’s phone", Platform: "Android 15"}
	p := &v.Pairing
	p.Binding, p.Kind, p.Name, p.Platform, p.User = hex.EncodeToString(binding[:]), a.Kind, a.Name, a.Platform, "abcdefghijklmnop"
	proof := ProvePhone(inv.Secret, inv.Pin, binding, a)
	p.PhoneMessage = strings.Join([]string{"faceprint-pair-1 phone", inv.Pin.String(), binding.String(), key.String(), "app", a.Platform, a.Name}, "\n")
	p.DeviceMessage = strings.Join([]string{"faceprint-pair-1 device", proof.String(), key.ID(), p.User}, "\n")
	p.PhoneProof, p.DeviceProof = proof.String(), ProveDevice(inv.Secret, proof, key.ID(), p.User).String()

	for _, r := range []Request{
		{Method: "POST", Target: "/v1/pair", Counter: 1, Binding: binding, Body: []byte(`{"kind":"app"}`)},
		{Method: "GET", Target: "/v1/history?limit=20", Counter: 2, Binding: binding},
		{Method: "POST", Target: "/v1/verify", Counter: MaxCounter, Binding: binding, Body: []byte(`{"nonce":"é"}`)},
	} {
		sum := r.digest()
		der, err := private.Sign(nil, sum[:], crypto.SHA256) // nil: RFC 6979
		if err != nil {
			t.Fatal(err)
		}
		s := Signature{ID: key.ID(), Counter: r.Counter, Sig: fromDER(t, der)}
		v.Requests = append(v.Requests, requestVector{
			Method: r.Method, Target: r.Target, Counter: r.Counter, Binding: hex.EncodeToString(r.Binding[:]), Body: string(r.Body),
			Message: string(r.appendMessage(nil)), Signature: hex.EncodeToString(s.Sig[:]), Authorization: s.String(),
		})
	}
	return v
}

// fromDER reads SEQUENCE { INTEGER r, INTEGER s } as the phones' libraries
// write it.
func fromDER(t *testing.T, der []byte) (sig [SignatureSize]byte) {
	t.Helper()
	rest := der[2:]
	for i := range 2 {
		n := int(rest[1])
		v := rest[2 : 2+n]
		rest = rest[2+n:]
		for len(v) > 32 {
			v = v[1:]
		}
		copy(sig[32*(i+1)-len(v):], v)
	}
	return sig
}

const vectorFile = "testdata/vectors.json"

func TestVectors(t *testing.T) {
	want := generate(t)
	if *update {
		b, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var got vectors
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("the protocol is not that of %s; a change of it needs a new version", vectorFile)
	}

	// What the file says holds by the plain primitives as well.
	secret, _ := hex.DecodeString(got.Invitation.Secret)
	for message, proof := range map[string]string{got.Pairing.PhoneMessage: got.Pairing.PhoneProof, got.Pairing.DeviceMessage: got.Pairing.DeviceProof} {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(message))
		if b64.EncodeToString(h.Sum(nil)) != proof {
			t.Errorf("the HMAC of %q is not %s", message, proof)
		}
	}
	public, _ := hex.DecodeString(got.Phone.Public)
	key := Key(public)
	ecdsaKey, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got.Requests {
		s, err := ParseSignature(r.Authorization)
		if err != nil {
			t.Fatal(err)
		}
		binding, _ := hex.DecodeString(r.Binding)
		req := Request{Method: r.Method, Target: r.Target, Counter: r.Counter, Binding: Binding(binding), Body: []byte(r.Body)}
		if !Verify(ecdsaKey, req, s) {
			t.Errorf("%s: the signature does not hold", r.Target)
		}
	}
}

func TestSignatureCoversEverything(t *testing.T) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), ascending(32, 1))
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), ascending(32, 2))
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Method: "POST", Target: "/v1/unlock", Counter: 7, Body: []byte("{}")}
	s, err := Sign(private, r)
	if err != nil {
		t.Fatal(err)
	}
	if !Verify(&private.PublicKey, r, s) {
		t.Fatal("a good signature does not hold")
	}
	if Verify(&other.PublicKey, r, s) {
		t.Error("it holds for another key")
	}
	for name, change := range map[string]func(*Request){
		"method":  func(r *Request) { r.Method = "GET" },
		"target":  func(r *Request) { r.Target += "?door=2" },
		"counter": func(r *Request) { r.Counter++ },
		"binding": func(r *Request) { r.Binding[31] ^= 1 },
		"body":    func(r *Request) { r.Body = []byte("{ }") },
	} {
		changed := r
		change(&changed)
		at := s
		at.Counter = changed.Counter
		if Verify(&private.PublicKey, changed, at) {
			t.Errorf("it holds with another %s", name)
		}
	}
	for _, sig := range [][SignatureSize]byte{{}, {63: 1}, {31: 1}} {
		if Verify(&private.PublicKey, r, Signature{ID: s.ID, Counter: 7, Sig: sig}) {
			t.Error("a signature of zeros holds")
		}
	}
}

func TestProofsDiffer(t *testing.T) {
	a := Applicant{Kind: App, Name: "n", Platform: "p"}
	base := ProvePhone(Secret{}, Pin{}, Binding{}, a)
	if !base.Equal(ProvePhone(Secret{}, Pin{}, Binding{}, a)) {
		t.Fatal("the same proof differs")
	}
	browser, renamed, rekeyed := a, a, a
	browser.Kind, renamed.Name, rekeyed.Key[64] = Browser, "m", 1
	for name, p := range map[string]Proof{
		"secret":  ProvePhone(Secret{1}, Pin{}, Binding{}, a),
		"pin":     ProvePhone(Secret{}, Pin{1}, Binding{}, a),
		"binding": ProvePhone(Secret{}, Pin{}, Binding{1}, a),
		"kind":    ProvePhone(Secret{}, Pin{}, Binding{}, browser),
		"name":    ProvePhone(Secret{}, Pin{}, Binding{}, renamed),
		"key":     ProvePhone(Secret{}, Pin{}, Binding{}, rekeyed),
		"device":  ProveDevice(Secret{}, base, "", ""),
	} {
		if base.Equal(p) {
			t.Errorf("another %s makes the same proof", name)
		}
	}
}

func TestApplicants(t *testing.T) {
	v := generate(t)
	public, _ := hex.DecodeString(v.Phone.Public)
	good := Applicant{Key: Key(public), Kind: App, Name: "Alice’s phone", Platform: "iOS 19"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Applicant){
		"no kind":              func(a *Applicant) { a.Kind = "" },
		"no name":              func(a *Applicant) { a.Name = "" },
		"a name of two lines":  func(a *Applicant) { a.Name = "a\nb" },
		"a bell":               func(a *Applicant) { a.Name = "a\a" },
		"an escape sequence":   func(a *Applicant) { a.Platform = "\x1b[2J" },
		"a C1 control":         func(a *Applicant) { a.Name = "a\u009b" },
		"invalid UTF-8":        func(a *Applicant) { a.Name = "\xff" },
		"a line separator":     func(a *Applicant) { a.Name = "a\u2028b" },
		"a long name":          func(a *Applicant) { a.Name = strings.Repeat("x", MaxName+1) },
		"a point off P-256":    func(a *Applicant) { a.Key[64] ^= 1 },
		"the point at nothing": func(a *Applicant) { a.Key = Key{} },
		"a compressed point":   func(a *Applicant) { a.Key[0] = 2 },
	} {
		a := good
		change(&a)
		if a.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"Alice’s phone": true, "گوشی\u200cام": true, "👩\u200d🚀": true, "x": true,
		"a\u202eb": false, "a\u200bb": false, "\ufeffa": false, "a\u2066b": false, "a\u00adb": false,
		"": false, " ": false, "\u00a0\u200d": false,
	} {
		if err := CheckName(name); (err == nil) != good {
			t.Errorf("%+q: %v", name, err)
		}
	}
}

func TestInvitations(t *testing.T) {
	var pin Pin
	var secret Secret
	for _, addr := range []string{"192.168.1.20:7443", "[fd00::1]:7443", "faceprint.local:443", "door:1"} {
		i := Invitation{addr, pin, secret}
		back, err := ParseInvitation(i.Text())
		if err != nil || back != i {
			t.Errorf("%s: %v, %v", addr, back, err)
		}
	}
	if strings.Contains(Invitation{"a:1", pin, Secret{1}}.String(), b64.EncodeToString([]byte{1})) {
		t.Error("String tells the secret")
	}
	good := Invitation{"a:1", pin, secret}.Text()
	for _, s := range []string{
		"", "https://", strings.Replace(good, "https", "http", 1), strings.Replace(good, "#1.", "#2.", 1), good + "A", good[:len(good)-1],
		strings.Replace(good, "a:1", "a:01", 1), strings.Replace(good, "a:1", "a:0", 1), strings.Replace(good, "a:1", "a:65536", 1),
		strings.Replace(good, "a:1", "a", 1), strings.Replace(good, "a:1", "A:1", 1), strings.Replace(good, "a:1", "a..b:1", 1),
		strings.Replace(good, "a:1", "u@a:1", 1), strings.Replace(good, "a:1", "[::ffff:1.2.3.4]:1", 1), strings.Replace(good, "a:1", "[fe80::1%eth0]:1", 1),
		strings.Replace(good, "a:1", "[FD00::1]:1", 1), strings.Replace(good, "a:1", "a/b:1", 1), strings.Replace(good, "AA.", "A\n.", 1),
		strings.Replace(good, "AA.", "AB.", 1), good + strings.Repeat(" ", 1000),
	} {
		if i, err := ParseInvitation(s); err == nil {
			t.Errorf("%q is taken for %+v", s, i)
		}
	}
}

func FuzzInvitation(f *testing.F) {
	f.Add(Invitation{Addr: "192.168.1.20:7443"}.Text())
	f.Add(Invitation{Addr: "[fd00::1]:7443"}.Text())
	f.Fuzz(func(t *testing.T, s string) {
		if i, err := ParseInvitation(s); err == nil && i.Text() != s {
			t.Errorf("%q is taken, %q is what it would be written as", s, i.Text())
		}
	})
}

func FuzzSignature(f *testing.F) {
	f.Add(Signature{ID: Key{}.ID(), Counter: 17}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ParseSignature(s); err == nil && v.String() != s {
			t.Errorf("%q is taken, %q is what it would be written as", s, v.String())
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add("BFFcPW6545a5BNP-yn9UyOD2QbqWKVvAGLvZkPzTEqpJ1OTRgqcDiNGy_sjLkpwwjc7XYHpqfHvhDzkwNI4g_g0")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseKey(s); err == nil {
			if k.String() != s {
				t.Errorf("%q is taken, %q is what it would be written as", s, k.String())
			}
			if _, err := k.Public(); err != nil {
				t.Errorf("%q is taken: %v", s, err)
			}
		}
	})
}

func FuzzProof(f *testing.F) {
	f.Add(Proof{}.String())
	f.Add(Proof{0xff, 31: 1}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParseProof(s); err == nil && p.String() != s {
			t.Errorf("%q is taken, %q is what it would be written as", s, p)
		}
	})
}

func FuzzBinding(f *testing.F) {
	f.Add(Binding{}.String())
	f.Add(Binding{0xff, 31: 1}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := ParseBinding(s); err == nil && b.String() != s {
			t.Errorf("%q is taken, %q is what it would be written as", s, b)
		}
	})
}

// A phone's file that is taken is one that would be written again as it was
// read, and its key signs.
func FuzzIdentity(f *testing.F) {
	i, err := NewIdentity("")
	if err != nil {
		f.Fatal(err)
	}
	i.Addr, i.ID, i.User, i.used, i.acked = "192.168.1.20:7443", i.public.ID(), "u1", 300, 17
	good, err := i.text()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := parseIdentity(good); err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, change := range [][2]string{{`"192`, `"https://192`}, {`300`, `3`}, {`300`, `-1`}, {`"u1"`, `null`}, {"}", "} {}"}, {"}", "}]"}, {`"user"`, `"more"`}} {
		f.Add(bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := parseIdentity(b)
		if err != nil {
			return
		}
		text, err := i.text()
		if err != nil {
			t.Fatalf("%q is taken and cannot be written: %v", b, err)
		}
		again, err := parseIdentity(text)
		if err != nil || again.ID != i.ID || again.Addr != i.Addr || again.Pin != i.Pin || again.used != i.used || again.acked != i.acked || !again.key.Equal(i.key) {
			t.Errorf("%q is taken, and %q written instead: %v", b, text, err)
		}
		r := Request{Method: "GET", Target: "/v1/me", Counter: 1}
		s, err := i.Sign(r)
		if err != nil || !Verify(&i.key.PublicKey, r, s) {
			t.Errorf("%q is taken and does not sign: %v", b, err)
		}
	})
}

func TestABadNameIsNoBreachOfTheProtocol(t *testing.T) {
	for _, name := range []string{"", "\x1b[31m", strings.Repeat("x", MaxName+1), " ", "a\u202eb"} {
		err := errors.Join(Applicant{Kind: App, Name: name}.Check(), CheckName(name))
		if first, _, _ := strings.Cut(err.Error(), "\n"); name != " " && name != "a\u202eb" && (strings.Contains(first, "protocol") || !strings.Contains(first, "name")) {
			t.Errorf("%q: %v", name, err)
		}
		if err := CheckName(name); err != nil && errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Programs that use one file at the same time never use a counter twice, nor one
// below another's, and leave the file at the highest.
func TestProgramsShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "phone.json")
	i, err := NewIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	i.Addr, i.ID = "192.168.1.20:7443", i.public.ID()
	if err := i.Save(); err != nil {
		t.Fatal(err)
	}
	a, errA := OpenIdentity(path)
	b, errB := OpenIdentity(path)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for n, x := range []*Identity{a, b, b, a, i, a} {
		next, err := x.Next(x.Highest())
		if err != nil || next <= last {
			t.Errorf("request %d has counter %d behind %d, %v", n, next, last, err)
		}
		last = next
	}
	if err := errors.Join(b.Acked(last), b.Save(), a.Save(), i.Save()); err != nil { // the slow ones end last
		t.Fatal(err)
	}
	again, err := OpenIdentity(path)
	if err != nil || again.used != last || again.acked != last {
		t.Errorf("the file is at %d, %d, want %d (%v)", again.used, again.acked, last, err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[uint64]bool)
	for _, x := range []*Identity{a, b} {
		for range 2 {
			all.Go(func() {
				for range 10 {
					next, err := x.Next(0)
					mu.Lock()
					if err != nil || seen[next] {
						t.Errorf("counter %d again, %v", next, err)
					}
					seen[next] = true
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
}

// What crypto/ecdsa is given are the very numbers of the signature, whatever they
// begin with.
func TestSignaturesAsDER(t *testing.T) {
	number := func(lead ...byte) []byte {
		return append(lead, bytes.Repeat([]byte{0x5a}, SignatureSize/2-len(lead))...)
	}
	nothing := make([]byte, SignatureSize/2)
	one := append(make([]byte, SignatureSize/2-1), 1)
	numbers := [][]byte{nothing, one, number(), number(0x7f), number(0x80), number(0xff), number(0, 0x7f), number(0, 0x80), number(0, 0, 0, 1), bytes.Repeat([]byte{0xff}, SignatureSize/2)}
	for _, r := range numbers {
		for _, s := range numbers {
			want, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)})
			if err != nil {
				t.Fatal(err)
			}
			var sig Signature
			copy(sig.Sig[copy(sig.Sig[:], r):], s)
			if got := sig.appendDER([]byte("before")); string(got) != "before"+string(want) {
				t.Errorf("r %x, s %x: %x, want %x", r, s, got, want)
			}
		}
	}
}
