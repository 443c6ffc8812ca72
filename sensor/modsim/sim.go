package modsim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/faceprint/faceprint/sensor"
)

// Config of a simulated module.
type Config struct {
	Model string // key of Personalities; "" means r503
	Seed  uint64 // of touches, faults and the serial number
	// Pictures of fingers that are not synthetic; see ReadPictures. What the module
	// compares is made of names as ever, what it shows is these.
	Pictures Pictures
	// Wake is the R503's WAKEUP wire: it is told when a finger is laid on or
	// lifted, under the module's lock; may be nil.
	Wake func(touched bool)
	// Sleep paces the line and the silicon. nil sleeps in real time; a test may
	// give one that does nothing.
	Sleep func(context.Context, time.Duration)
}

// Sim is one module. Its methods may be called concurrently.
type Sim struct {
	sleep func(context.Context, time.Duration)
	wake  func(touched bool)
	seen  Pictures
	boot  chan struct{} // has a token when the module is starting
	grown grown
	hand  chan struct{} // has a token while nobody lays, lifts or swaps; s.mu is free meanwhile

	mu       sync.Mutex
	rand     *rand.Rand
	p        Personality
	serial   string
	touch    *touch // nil when lifted
	ahead    bool   // touches are drawn before they are there
	touches  uint64
	plugged  bool
	mute     bool
	hung     bool // until the power is cut
	quirks   map[string]int
	lie      string
	garble   float64 // share of bytes that are damaged on the wire
	faults   []fault
	passed   [2]int // bytes in and out since the faults were set
	address  uint32
	password uint32
	verified bool
	level    uint16
	sizeCode uint16    // 0..3: data packets of 32..256 bytes
	baudN    uint16    // 9600*N, at which it speaks now
	newN     uint16    // what it was set to
	ready    time.Time // when the start-up is over, zero when it is
	restart  bool
	image    *picture // what GenImg or DownImage left, nil for none
	fresh    bool     // no capture since the last Img2Tz
	compared int      // how often the newest features were compared
	searched bool     // nothing was compared since the last search
	lent     bool     // the newest template in a buffer came from the host
	passedOK bool     // the last comparison said yes
	buffers  map[byte][]byte
	library  map[int][]byte
	rotten   map[int]bool // slots that read another each time
	notepad  [16][32]byte
	lamp     string
	dances   time.Time // until when the lamp is animated
	commands uint64
	settings uint64 // SetSysPara instructions: writes of the flash
	packets  uint64
	waitFor  byte   // what data packets are for: a buffer, forImage, or 0 for nothing
	incoming []byte // data received for it
	badData  bool
	newest   []byte                     // features, for a personality with OneModel
	own      map[[sha256.Size]byte]bool // templates of pictures that the host sent: its decoys
	stored   map[[sha256.Size]byte]bool // templates that were ever in the library
	named    [sha256.Size]byte          // the one that a lying search named last
	current  sensor.Instruction
	recent   [2]answered // for the fault "wrong"
}

// forTemplates is the one buffer of a personality with OneModel.
const forTemplates = 0xFE

// forImage in waitFor stands for the image buffer.
const forImage = 0xFF

// touch is a finger on the sensor.
type touch struct {
	finger finger
	number uint64
	press  float64
	shown  *image.Gray // a picture that was given, nil for a synthetic one
	drawn  []byte      // what the sensor sees of it, nil until that is drawn
}

// drawAhead makes it draw each touch before the finger is there. A silicon sensor has its
// picture within 0.2 s; to draw one takes as long as a busy machine pleases, and the
// host's patience is of real time.
func (s *Sim) drawAhead() {
	defer s.takeHand()()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead = true
	if t := s.touch; t != nil && t.drawn == nil {
		t.drawn = s.grown.draw(t, s.p)
	}
}

// takeHand waits until what was begun before with a finger or the module is done, in the
// order of asking: a touch that is drawn is lifted after it lies there.
func (s *Sim) takeHand() (release func()) {
	<-s.hand
	return func() { s.hand <- struct{}{} }
}

// lay puts a finger on the sensor.
func (s *Sim) lay(person, name string, press float64) {
	defer s.takeHand()()
	s.mu.Lock()
	s.touches++
	t := &touch{finger: newFinger(person, name), number: s.touches, press: press}
	if ps := s.seen.of(person, name); ps != nil {
		t.shown = ps[s.touches%uint64(len(ps))]
	}
	p, ahead := s.p, s.ahead
	s.mu.Unlock()
	if ahead { // without the lock: the module answers meanwhile
		t.drawn = s.grown.draw(t, p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch = t
	s.wakes()
}

// picture is what lies in the image buffer: a touch, or what the host sent.
type picture struct {
	touch *touch
	sent  []byte // 4 bits a pixel
}

// New makes a module as it leaves the factory.
func New(c Config) (*Sim, error) {
	if c.Model == "" {
		c.Model = "r503"
	}
	p, ok := Personalities[c.Model]
	if !ok {
		return nil, fmt.Errorf("modsim: no model %q; there are r503, r307 and as608", c.Model)
	}
	if c.Sleep == nil {
		c.Sleep = realSleep
	}
	s := &Sim{
		sleep: c.Sleep, wake: c.Wake, seen: c.Pictures, boot: make(chan struct{}, 1), hand: make(chan struct{}, 1), rand: rand.New(rand.NewPCG(c.Seed, 503)),
		p: p, plugged: true, quirks: make(map[string]int),
	}
	s.hand <- struct{}{}
	s.factory()
	return s, nil
}

func realSleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Sim) factory() {
	s.serial = fmt.Sprintf("%08X", s.rand.Uint32())
	s.address, s.password = sensor.DefaultAddress, 0
	s.level, s.sizeCode, s.newN = 3, 2, 6
	s.library, s.rotten = make(map[int][]byte), make(map[int]bool)
	s.own, s.stored = make(map[[sha256.Size]byte]bool), make(map[[sha256.Size]byte]bool)
	s.notepad = [16][32]byte{}
	s.reset()
}

// reset is what cutting the power does.
func (s *Sim) reset() {
	s.baudN = s.newN
	s.passedOK = false
	s.verified, s.image, s.fresh, s.waitFor, s.incoming = s.password == 0, nil, false, 0, nil
	s.buffers, s.newest = make(map[byte][]byte), nil
	s.lamp, s.dances, s.hung = "off", time.Time{}, false
}

// wakes tells the wake line whether a finger is there.
func (s *Sim) wakes() {
	if s.wake != nil {
		s.wake(s.touch != nil)
	}
}

// start begins the start-up: deaf until it is over.
func (s *Sim) start() {
	s.reset()
	s.ready = time.Now().Add(s.p.StartUp)
	select {
	case s.boot <- struct{}{}:
	default:
	}
}

func (s *Sim) baud() int { return 9600 * int(s.baudN) }

func (s *Sim) ack(c sensor.Code, content ...byte) []sensor.Packet {
	return []sensor.Packet{{Address: s.address, PID: sensor.PIDAck, Content: append([]byte{byte(c)}, content...)}}
}

// transfer is an acknowledgement and the data packets behind it.
func (s *Sim) transfer(data []byte) []sensor.Packet {
	out := s.ack(sensor.OK)
	size := 32 << s.sizeCode
	for len(data) > size {
		out = append(out, sensor.Packet{Address: s.address, PID: sensor.PIDData, Content: data[:size]})
		data = data[size:]
	}
	end := sensor.PIDEndData
	if s.quirks["noend"] > 0 {
		end = sensor.PIDData
	}
	return append(out, sensor.Packet{Address: s.address, PID: end, Content: data})
}

// data collects what DownChar or DownImage announced.
func (s *Sim) data(p sensor.Packet) {
	if s.waitFor == 0 || len(s.incoming)+len(p.Content) > 64<<10 {
		return
	}
	s.incoming = append(s.incoming, p.Content...)
	if p.PID != sensor.PIDEndData {
		return
	}
	switch {
	case s.badData:
	case s.waitFor != forImage && bytes.Count(s.incoming, []byte{0xFF}) == len(s.incoming):
		delete(s.buffers, s.waitFor) // a blank template is rejected, which nothing says: Store finds none
	case s.waitFor != forImage:
		s.buffers[s.waitFor] = s.incoming
	case len(s.incoming) == s.p.Width*s.p.Height/2:
		s.image = &picture{sent: s.incoming}
	}
	s.waitFor, s.incoming = 0, nil
}
