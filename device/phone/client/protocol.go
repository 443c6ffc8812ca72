// Package client is a phone's end of the paired-phone protocol: the texts that
// are proved and signed, the types on the wire, and a client that any Go
// program can be a phone with. It uses the standard library alone; the device's
// end (device/phone) takes the protocol from here, so that both sides have it
// from one place. testdata/vectors.json has it for other languages.
//
// # Protocol
//
// TLS 1.3, no resumption, with a self-signed key whose SPKI hash (the pin) the
// phone got from a QR code on the device's own screen. Nothing else is trusted:
// no certificate authority, no name, no first use.
//
// A binding ties everything to one TLS connection: the channel binding
// tls-exporter of RFC 9266. It differs on the two sides of a man in the middle,
// and a request that was recorded means nothing on another connection.
//
// Pairing: the QR also carries a 128-bit secret, good once and for a minute.
// Each side proves that it knows the secret with an HMAC over pin, binding and
// the phone's key, so neither can be somebody else. The device answers with the
// phone's id.
//
// Requests are signed with the phone's P-256 key over method, target, counter,
// binding and the body's hash. Counters only grow. The device states the highest
// that it has seen; one that is lower than what the phone remembers gives away a
// device whose vault was rolled back.
//
// A browser cannot read the exporter and cannot check the pin. A page may use a
// key that was paired as a browser's, for which a session that the device hands
// out takes the binding's place; how much that is worth depends on the browser's
// own check of the certificate.
package client

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sizes in bytes.
const (
	PinSize       = sha256.Size
	SecretSize    = 16
	BindingSize   = 32
	KeySize       = 65 // a P-256 point, uncompressed (SEC 1, 2.3.3)
	SignatureSize = 64 // r and s, big-endian (IEEE P1363)
)

// MaxCounter is the highest counter: what every language counts exactly.
const MaxCounter = 1<<53 - 1

// Limits of what a phone says about itself, in bytes.
const (
	MaxName     = 64
	MaxPlatform = 64
)

// ErrProtocol is wrapped by every error of a text that does not follow the
// protocol. A name that a person chose badly is no such thing.
var ErrProtocol = errors.New("not the paired-phone protocol")

var b64 = base64.RawURLEncoding.Strict()

// Pin is the SHA-256 of the device's public key (SubjectPublicKeyInfo, DER).
type Pin [PinSize]byte

func (p Pin) String() string { return b64.EncodeToString(p[:]) }

// Groups is the pin as people compare it: hexadecimal, four digits a group.
func (p Pin) Groups() string {
	var groups []string
	for b := range slices.Chunk(p[:], 2) {
		groups = append(groups, hex.EncodeToString(b))
	}
	return strings.Join(groups, " ")
}

// Secret proves that a phone saw the QR code. It is good once.
type Secret [SecretSize]byte

// String tells nobody the secret.
func (Secret) String() string { return "(secret)" }

// Name of the invitation, which can be told: it only says which one is meant.
func (s Secret) Name() string {
	sum := sha256.Sum256(append([]byte("faceprint-pair-1 name\n"), s[:]...))
	return b64.EncodeToString(sum[:9])
}

// NewSecret makes one.
func NewSecret() (s Secret) {
	rand.Read(s[:]) // never fails (crypto/rand)
	return s
}

// Binding ties a proof or a request to one connection, or to one session of a
// browser.
type Binding [BindingSize]byte

func (b Binding) String() string { return b64.EncodeToString(b[:]) }

// ParseBinding reads what String writes.
func ParseBinding(s string) (b Binding, err error) {
	return b, decode(b[:], s, "binding")
}

// Bind is the connection's tls-exporter channel binding (RFC 9266).
func Bind(c *tls.ConnectionState) (b Binding, err error) {
	if c == nil || c.Version != tls.VersionTLS13 {
		return b, fmt.Errorf("phone: no TLS 1.3 connection to bind to: %w", ErrProtocol)
	}
	ekm, err := c.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, BindingSize)
	if err != nil {
		return b, fmt.Errorf("phone: channel binding: %w", err)
	}
	copy(b[:], ekm)
	clear(ekm)
	return b, nil
}

// Invitation is what the QR code says: where the device is, how to know it, and
// the secret. It is a URL, so that a phone without an app opens the device's own
// page; the fragment, which has everything that matters, is not sent to anybody.
type Invitation struct {
	Addr   string // host:port
	Pin    Pin
	Secret Secret
}

// Text is the invitation as the QR code carries it: a secret, as it is.
func (i Invitation) Text() string {
	return "https://" + i.Addr + "/#1." + i.Pin.String() + "." + b64.EncodeToString(i.Secret[:])
}

// String tells nobody the secret.
func (i Invitation) String() string { return "invitation to " + i.Addr }

// maxInvitation bounds what is looked at of a camera's or a keyboard's text.
const maxInvitation = 400

// ParseInvitation accepts what Text makes and nothing else: the text comes from
// a camera.
func ParseInvitation(s string) (i Invitation, err error) {
	bad := func(format string, a ...any) (Invitation, error) {
		return Invitation{}, fmt.Errorf("phone: invitation: "+format+": %w; scan the code on the device's screen again", append(a, ErrProtocol)...)
	}
	if len(s) > maxInvitation {
		return bad("%d characters", len(s))
	}
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		return bad("it does not begin with https://")
	}
	addr, rest, ok := strings.Cut(rest, "/#1.")
	if !ok {
		return bad("it has no version that is known")
	}
	pin, secret, ok := strings.Cut(rest, ".")
	if !ok {
		return bad("it has no secret")
	}
	if err := checkAddr(addr); err != nil {
		return bad("%w", err)
	}
	i.Addr = addr
	if err := decode(i.Pin[:], pin, "pin"); err != nil {
		return bad("%w", err)
	}
	if err := decode(i.Secret[:], secret, "secret"); err != nil {
		return bad("%w", err)
	}
	return i, nil
}

// checkAddr accepts an IP address or a plain DNS name with a port, in the one
// form in which it is written.
func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("the address is no host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return errors.New("the port is none")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" || ip.Is4In6() || net.JoinHostPort(ip.String(), port) != addr {
			return errors.New("the IP address is not in its usual form")
		}
		return nil
	}
	if host == "" || len(host) > 253 || net.JoinHostPort(host, port) != addr {
		return errors.New("the host is none")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notLDH) {
			return errors.New("the host is no DNS name in lower case")
		}
	}
	return nil
}

func notLDH(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }

// decode fills dst with exactly what s says in base64url without padding.
func decode(dst []byte, s, what string) error {
	if len(s) != b64.EncodedLen(len(dst)) {
		return fmt.Errorf("the %s has %d characters, not %d: %w", what, len(s), b64.EncodedLen(len(dst)), ErrProtocol)
	}
	if strings.ContainsAny(s, "\r\n") { // which base64 would skip
		return fmt.Errorf("the %s has line ends: %w", what, ErrProtocol)
	}
	if _, err := b64.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("the %s is no base64url: %w", what, ErrProtocol)
	}
	return nil
}

// Key is a phone's public key.
type Key [KeySize]byte

func (k Key) String() string { return b64.EncodeToString(k[:]) }

// ID names the key: the first 12 bytes of its SHA-256.
func (k Key) ID() string {
	sum := sha256.Sum256(k[:])
	return b64.EncodeToString(sum[:12])
}

// Public is the key for crypto/ecdsa; an error where it is no point of P-256.
func (k Key) Public() (*ecdsa.PublicKey, error) {
	if _, err := ecdh.P256().NewPublicKey(k[:]); err != nil {
		return nil, fmt.Errorf("phone: the key is no point of P-256: %w", ErrProtocol)
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k[:])
}

// ParseKey reads what String writes; the point is on the curve.
func ParseKey(s string) (k Key, err error) {
	if err := decode(k[:], s, "key"); err != nil {
		return Key{}, fmt.Errorf("phone: %w", err)
	}
	if _, err := k.Public(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// PublicKey of a private one.
func PublicKey(private *ecdsa.PrivateKey) (k Key, err error) {
	if private.Curve != elliptic.P256() {
		return k, fmt.Errorf("phone: the key is not of P-256: %w", ErrProtocol)
	}
	b, err := private.PublicKey.Bytes()
	if err != nil {
		return k, fmt.Errorf("phone: %w", err)
	}
	copy(k[:], b)
	return k, nil
}

// Kind says what holds the phone's key.
type Kind string

// Kinds. The zero Kind is none.
const (
	App     Kind = "app"     // a program that checks the pin and binds to the connection
	Browser Kind = "browser" // a page: bound to a session, pinned by the browser at most
)

// Applicant is a phone that wants to be paired.
type Applicant struct {
	Key      Key
	Kind     Kind
	Name     string // what the owner calls it, 1 to MaxName bytes
	Platform string // such as Android 15, at most MaxPlatform bytes
}

// Check refuses what cannot be a phone.
func (a Applicant) Check() error {
	switch {
	case a.Kind != App && a.Kind != Browser:
		return fmt.Errorf("phone: a phone is an app or a browser, not %.20q: %w", a.Kind, ErrProtocol)
	case a.Name == "" || !Printable(a.Name, MaxName):
		return errName
	case !Printable(a.Platform, MaxPlatform):
		return fmt.Errorf("phone: a platform has at most %d bytes of printable text: %w", MaxPlatform, ErrProtocol)
	}
	_, err := a.Key.Public()
	return err
}

// Printable tells whether a text can be shown and put on a line of its own,
// and has at most so many bytes.
func Printable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r == '\u2028' || r == '\u2029'
	})
}

var errName = fmt.Errorf("phone: a name has 1 to %d bytes of printable text", MaxName)

// joiners are invisible and stay: Persian and emoji need them.
const joiners = "\u200c\u200d"

// hides tells whether a text rearranges or hides what is around it.
func hides(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Cf, r) && !strings.ContainsRune(joiners, r) })
}

// CheckName refuses, of a new name, what cannot be one, what rearranges or hides
// text around it, and what nobody would see. Applicant.Check, which also reads
// names that were kept before, is content with less.
func CheckName(name string) error {
	switch {
	case name == "" || !Printable(name, MaxName):
		return errName
	case hides(name):
		return errors.New("phone: a name has no invisible marks in it")
	case !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsSpace(r) && !strings.ContainsRune(joiners, r) }):
		return errors.New("phone: a name has something to see in it")
	}
	return nil
}

// CheckPlatform refuses the same of a new phone's platform, which may be empty.
func CheckPlatform(platform string) error {
	if !Printable(platform, MaxPlatform) || hides(platform) {
		return fmt.Errorf("phone: a platform has at most %d bytes of printable text, without invisible marks: %w", MaxPlatform, ErrProtocol)
	}
	return nil
}

// Proof is an HMAC-SHA256 under the invitation's secret.
type Proof [sha256.Size]byte

func (p Proof) String() string { return b64.EncodeToString(p[:]) }

// ParseProof reads what String writes.
func ParseProof(s string) (p Proof, err error) {
	if err := decode(p[:], s, "proof"); err != nil {
		return p, fmt.Errorf("phone: %w", err)
	}
	return p, nil
}

// Equal compares in constant time.
func (p Proof) Equal(q Proof) bool { return hmac.Equal(p[:], q[:]) }

// ProvePhone is the phone's proof that it saw the QR code, bound to the key of
// the device that it means, to the connection, and to its own key and names.
func ProvePhone(s Secret, pin Pin, b Binding, a Applicant) Proof {
	return prove(s, "faceprint-pair-1 phone", pin.String(), b.String(), a.Key.String(), string(a.Kind), a.Platform, a.Name)
}

// ProveDevice is the device's answer: it knew the secret too, and saw this very
// phone on this very connection.
func ProveDevice(s Secret, phone Proof, id, user string) Proof {
	return prove(s, "faceprint-pair-1 device", phone.String(), id, user)
}

func prove(s Secret, lines ...string) (p Proof) {
	h := hmac.New(sha256.New, s[:])
	h.Write([]byte(strings.Join(lines, "\n")))
	h.Sum(p[:0])
	return p
}

// Request is what a signature covers.
type Request struct {
	Method  string
	Target  string // path and query, as on the request line
	Counter uint64
	Binding Binding
	Body    []byte
}

// appendMessage appends the text that is signed.
func (r Request) appendMessage(b []byte) []byte {
	body := sha256.Sum256(r.Body)
	b = append(b, "faceprint-request-1\n"...)
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = append(b, r.Target...)
	b = append(b, '\n')
	b = strconv.AppendUint(b, r.Counter, 10)
	b = append(b, '\n')
	b = b64.AppendEncode(b, r.Binding[:])
	b = append(b, '\n')
	return b64.AppendEncode(b, body[:])
}

func (r Request) digest() [sha256.Size]byte {
	var room [256]byte // for most; longer targets move elsewhere
	return sha256.Sum256(r.appendMessage(room[:0]))
}

// Signature of a request, as the Authorization header carries it.
type Signature struct {
	ID      string // of the phone
	Counter uint64
	Sig     [SignatureSize]byte
}

// Scheme of the Authorization header. What follows is a token68 of RFC 9110.
const Scheme = "Faceprint1"

func (s Signature) String() string {
	return Scheme + " " + s.ID + "." + strconv.FormatUint(s.Counter, 10) + "." + b64.EncodeToString(s.Sig[:])
}

// ParseSignature accepts what String makes and nothing else.
func ParseSignature(header string) (s Signature, err error) {
	bad := func(what string) (Signature, error) {
		return Signature{}, fmt.Errorf("phone: Authorization: %s: %w", what, ErrProtocol)
	}
	if len(header) > 200 {
		return bad("too long")
	}
	rest, ok := strings.CutPrefix(header, Scheme+" ")
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 {
		return bad("not of the form " + Scheme + " id.counter.signature")
	}
	var id [12]byte
	if err := decode(id[:], parts[0], "id"); err != nil {
		return bad("the id is none")
	}
	s.ID = parts[0]
	s.Counter, err = strconv.ParseUint(parts[1], 10, 64)
	if err != nil || s.Counter == 0 || s.Counter > MaxCounter || strconv.FormatUint(s.Counter, 10) != parts[1] {
		return bad("the counter is none")
	}
	if err := decode(s.Sig[:], parts[2], "signature"); err != nil {
		return bad("the signature is none")
	}
	return s, nil
}

// Sign signs the request with a phone's key.
func Sign(private *ecdsa.PrivateKey, r Request) (Signature, error) {
	k, err := PublicKey(private)
	if err != nil {
		return Signature{}, err
	}
	sum := r.digest()
	x, y, err := ecdsa.Sign(rand.Reader, private, sum[:])
	if err != nil {
		return Signature{}, fmt.Errorf("phone: signature: %w", err)
	}
	s := Signature{ID: k.ID(), Counter: r.Counter}
	x.FillBytes(s.Sig[:SignatureSize/2])
	y.FillBytes(s.Sig[SignatureSize/2:])
	return s, nil
}

// Verify tells whether the signature is the key's, over this very request. The
// counter that counts is the request's; the caller takes it from the signature.
func Verify(key *ecdsa.PublicKey, r Request, s Signature) bool {
	if r.Counter != s.Counter {
		return false
	}
	sum := r.digest()
	var room [2 + 2*(3+SignatureSize/2)]byte
	return ecdsa.VerifyASN1(key, sum[:], s.appendDER(room[:0]))
}

// appendDER appends the signature as X.509 has it (RFC 3279, 2.2.3): what
// crypto/ecdsa takes as it is, without numbers of any length in between.
func (s Signature) appendDER(b []byte) []byte {
	from := len(b)
	b = append(b, 0x30, 0) // SEQUENCE, at most 70 bytes long
	for _, n := range [...][]byte{s.Sig[:SignatureSize/2], s.Sig[SignatureSize/2:]} {
		for len(n) > 1 && n[0] == 0 {
			n = n[1:]
		}
		b = append(b, 2, byte(len(n))) // INTEGER
		if n[0] >= 0x80 {              // which would be a sign
			b[len(b)-1]++
			b = append(b, 0)
		}
		b = append(b, n...)
	}
	b[from+1] = byte(len(b) - from - 2)
	return b
}
