package modsim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/faceprint/faceprint/sensor"
)

// Personality is what tells one family of modules from another.
type Personality struct {
	Model        string // as ReadProdInfo names it
	SystemID     uint16
	Capacity     int // templates in the library
	Width        int // pixels
	Height       int
	DPI          float64
	Buffers      int
	TemplateSize int  // bytes that UpChar sends
	ProdInfo     bool // ReadProdInfo is known, and a ready byte is sent
	Aura         bool // has a ring that AuraLedConfig drives
}

// Personalities by name.
var Personalities = map[string]Personality{
	"r503":  {Model: "R503", SystemID: 0x0000, Capacity: 200, Width: 192, Height: 192, DPI: 508, Buffers: 6, TemplateSize: 1536, ProdInfo: true, Aura: true},
	"r307":  {Model: "R307", SystemID: 0x0009, Capacity: 1000, Width: 256, Height: 288, DPI: 500, Buffers: 2, TemplateSize: 768},
	"as608": {Model: "AS608", SystemID: 0x0009, Capacity: 162, Width: 256, Height: 288, DPI: 500, Buffers: 2, TemplateSize: 512},
}

// Config of a simulated module.
type Config struct {
	Model string // key of Personalities; "" means r503
	Seed  uint64 // of touches and faults
	// Sleep paces the line and the silicon. nil sleeps in real time; a test may
	// give one that does nothing.
	Sleep func(context.Context, time.Duration)
}

// Times that the silicon takes (R503 manual 1.2: acquire < 0.2 s, features
// < 0.5 s, match < 10 ms).
const (
	timeImage    = 120 * time.Millisecond
	timeNoFinger = 30 * time.Millisecond
	timeFeatures = 180 * time.Millisecond
	timeMerge    = 60 * time.Millisecond
	timeMatch    = 8 * time.Millisecond
	timeFlash    = 30 * time.Millisecond
)

// Sim is one module. Its methods may be called concurrently.
type Sim struct {
	sleep func(context.Context, time.Duration)

	mu       sync.Mutex
	rand     *rand.Rand
	p        Personality
	touch    *touch // nil when lifted
	touches  uint64
	plugged  bool
	mute     bool
	garble   float64 // share of bytes that are damaged on the wire
	address  uint32
	password uint32
	verified bool
	level    uint16
	sizeCode uint16 // 0..3: data packets of 32..256 bytes
	baudN    uint16 // 9600*N
	image    *touch // what GenImg took
	buffers  map[byte][]byte
	library  map[int][]byte
	notepad  [16][32]byte
	lamp     string
	commands uint64
	waitFor  byte   // buffer that data packets are for, 0 for none
	incoming []byte // data received for it
	badData  bool
}

// touch is a finger on the sensor.
type touch struct {
	finger finger
	number uint64
	press  float64
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
	s := &Sim{sleep: c.Sleep, rand: rand.New(rand.NewPCG(c.Seed, 503)), p: p, plugged: true}
	s.factory()
	return s, nil
}

func realSleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Sim) factory() {
	s.address, s.password = sensor.DefaultAddress, 0
	s.level, s.sizeCode, s.baudN = 3, 2, 6
	s.library = make(map[int][]byte)
	s.lamp = "off"
	s.reset()
}

// reset is what cutting the power does.
func (s *Sim) reset() {
	s.verified, s.image, s.waitFor, s.incoming = s.password == 0, nil, 0, nil
	s.buffers = make(map[byte][]byte)
}

// Serve speaks on the line until it ends or the context does. Closing the line
// is the caller's.
func (s *Sim) Serve(ctx context.Context, line io.ReadWriter) error {
	var in sensor.Reassembler
	buf := make([]byte, 512)
	for {
		n, err := line.Read(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return fmt.Errorf("modsim: %w", err)
		}
		in.Write(s.garbled(buf[:n]))
		for {
			p, err := in.Next()
			if errors.Is(err, sensor.ErrShort) {
				break
			}
			if err := s.packet(ctx, line, p, err); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("modsim: %w", err)
			}
		}
	}
}

// garbled damages its share of the bytes; an unplugged or mute module hears
// nothing.
func (s *Sim) garbled(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.plugged || s.mute {
		return nil
	}
	for i := range b {
		if s.garble > 0 && s.rand.Float64() < s.garble {
			b[i] ^= byte(1 + s.rand.IntN(255))
		}
	}
	return b
}

// packet handles one packet, or a damaged one.
func (s *Sim) packet(ctx context.Context, line io.Writer, p sensor.Packet, damage error) error {
	s.mu.Lock()
	var out []sensor.Packet
	var busy time.Duration
	switch {
	case damage != nil && s.waitFor != 0:
		s.badData = true // of a transfer nothing is acknowledged
	case damage != nil:
		out = s.ack(sensor.PacketError)
	case p.Address != s.address:
		// no answer
	case p.PID == sensor.PIDCommand && len(p.Content) > 0:
		s.commands++
		s.waitFor, s.incoming = 0, nil
		out, busy = s.command(sensor.Instruction(p.Content[0]), p.Content[1:])
	case p.PID == sensor.PIDData || p.PID == sensor.PIDEndData:
		s.data(p)
	}
	baud := 9600 * int(s.baudN)
	s.mu.Unlock()

	s.sleep(ctx, busy)
	for _, p := range out {
		b, err := sensor.AppendPacket(nil, p)
		if err != nil {
			return err
		}
		s.sleep(ctx, time.Duration(len(b))*10*time.Second/time.Duration(baud)) // 8N1: ten bits a byte
		if b = s.garbled(b); len(b) == 0 {
			return nil
		}
		if _, err := line.Write(b); err != nil {
			return err
		}
	}
	return nil
}

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
	return append(out, sensor.Packet{Address: s.address, PID: sensor.PIDEndData, Content: data})
}

// data collects what DownChar announced.
func (s *Sim) data(p sensor.Packet) {
	if s.waitFor == 0 || len(s.incoming)+len(p.Content) > 64<<10 {
		return
	}
	s.incoming = append(s.incoming, p.Content...)
	if p.PID != sensor.PIDEndData {
		return
	}
	if !s.badData {
		s.buffers[s.waitFor] = s.incoming
	}
	s.waitFor, s.incoming = 0, nil
}

// command carries out one instruction and says how long the silicon takes.
func (s *Sim) command(i sensor.Instruction, a []byte) ([]sensor.Packet, time.Duration) {
	if want, ok := parameters[i]; ok && len(a) != want {
		return s.ack(sensor.PacketError), 0
	}
	if !s.verified && i != sensor.VfyPwd {
		return s.ack(sensor.VerifyFirst), 0
	}
	be := binary.BigEndian
	switch i {
	case sensor.VfyPwd:
		if be.Uint32(a) != s.password {
			return s.ack(sensor.WrongPassword), 0
		}
		s.verified = true
		return s.ack(sensor.OK), 0
	case sensor.SetPwd:
		s.password = be.Uint32(a)
		return s.ack(sensor.OK), timeFlash
	case sensor.SetAdder:
		s.address = be.Uint32(a)
		return s.ack(sensor.OK), timeFlash
	case sensor.SetSysPara:
		return s.setParameter(a[0], uint16(a[1])), timeFlash
	case sensor.ReadSysPara:
		return s.ack(sensor.OK, s.systemParameters()...), 0
	case sensor.ReadProdInfo:
		if !s.p.ProdInfo {
			return s.ack(sensor.Unsupported), 0
		}
		return s.ack(sensor.OK, s.product()...), 0
	case sensor.GenImg, sensor.GetImageEx:
		if s.touch == nil {
			s.image = nil
			return s.ack(sensor.NoFinger), timeNoFinger
		}
		s.image = s.touch
		return s.ack(sensor.OK), timeImage
	case sensor.Img2Tz:
		if s.image == nil {
			return s.ack(sensor.NoImage), 0
		}
		if s.image.press < 0.2 {
			return s.ack(sensor.FewFeatures), timeFeatures
		}
		if !s.buffer(a[0]) {
			return s.ack(sensor.BadID), 0
		}
		s.buffers[a[0]] = encode(s.p.Model, s.image.finger.features(s.image.number, s.image.press), 1, featureSize)
		return s.ack(sensor.OK), timeFeatures
	case sensor.RegModel:
		return s.regModel(), timeMerge
	case sensor.UpChar:
		b := s.buffers[a[0]]
		if b == nil {
			return s.ack(sensor.TemplateUpload), 0
		}
		file := make([]byte, s.p.TemplateSize)
		copy(file, b)
		return s.transfer(file), 0
	case sensor.DownChar:
		if !s.buffer(a[0]) {
			return s.ack(sensor.BadID), 0
		}
		s.waitFor, s.badData = a[0], false
		return s.ack(sensor.OK), 0
	case sensor.Match:
		return s.match(), timeMatch
	case sensor.Search, sensor.HiSpeedSearch:
		return s.search(a[0], int(be.Uint16(a[1:])), int(be.Uint16(a[3:])))
	case sensor.Store:
		return s.store(a[0], int(be.Uint16(a[1:]))), timeFlash
	case sensor.LoadChar:
		id := int(be.Uint16(a[1:]))
		switch {
		case id >= s.p.Capacity || !s.buffer(a[0]):
			return s.ack(sensor.BadID), 0
		case s.library[id] == nil:
			return s.ack(sensor.TemplateRead), 0
		}
		s.buffers[a[0]] = s.library[id]
		return s.ack(sensor.OK), 0
	case sensor.DeletChar:
		first, n := int(be.Uint16(a)), int(be.Uint16(a[2:]))
		if first+n > s.p.Capacity {
			return s.ack(sensor.DeleteFail), 0
		}
		for id := range n {
			delete(s.library, first+id)
		}
		return s.ack(sensor.OK), timeFlash
	case sensor.Empty:
		clear(s.library)
		return s.ack(sensor.OK), timeFlash
	case sensor.TempleteNum:
		return s.ack(sensor.OK, be.AppendUint16(nil, uint16(len(s.library)))...), 0
	case sensor.ReadIndex:
		return s.index(int(a[0])), 0
	case sensor.UpImage:
		if s.image == nil {
			return s.ack(sensor.ImageUpload), 0
		}
		return s.transfer(s.packed()), 0
	case sensor.GetRandomCode:
		return s.ack(sensor.OK, be.AppendUint32(nil, s.rand.Uint32())...), 0
	case sensor.WriteNotepad:
		if int(a[0]) >= len(s.notepad) {
			return s.ack(sensor.BadNotepad), 0
		}
		copy(s.notepad[a[0]][:], a[1:])
		return s.ack(sensor.OK), timeFlash
	case sensor.ReadNotepad:
		if int(a[0]) >= len(s.notepad) {
			return s.ack(sensor.BadNotepad), 0
		}
		return s.ack(sensor.OK, s.notepad[a[0]][:]...), 0
	case sensor.AuraLedConfig:
		if !s.p.Aura {
			return s.ack(sensor.Unsupported), 0
		}
		s.lamp = fmt.Sprintf("mode %d speed %d colour %d times %d", a[0], a[1], a[2], a[3])
		return s.ack(sensor.OK), 0
	case sensor.SoftRst:
		s.reset()
		return s.ack(sensor.OK), 0
	case sensor.HandShake, sensor.CheckSensor, sensor.Cancel:
		return s.ack(sensor.OK), 0
	case sensor.GetEcho:
		return s.ack(sensor.Code(0x55)), 0
	case sensor.GetAlgVer, sensor.GetFwVer:
		var text [32]byte
		copy(text[:], "SIM"+s.p.Model+"V1")
		return s.ack(sensor.OK, text[:]...), 0
	}
	return s.ack(sensor.Unsupported), 0
}

// parameters is how many bytes follow the instruction.
var parameters = map[sensor.Instruction]int{
	sensor.VfyPwd: 4, sensor.SetPwd: 4, sensor.SetAdder: 4, sensor.SetSysPara: 2, sensor.Img2Tz: 1, sensor.UpChar: 1,
	sensor.DownChar: 1, sensor.Search: 5, sensor.HiSpeedSearch: 5, sensor.Store: 3, sensor.LoadChar: 3, sensor.DeletChar: 4,
	sensor.ReadIndex: 1, sensor.WriteNotepad: 33, sensor.ReadNotepad: 1, sensor.AuraLedConfig: 4,
}

func (s *Sim) buffer(n byte) bool { return n >= 1 && int(n) <= s.p.Buffers }

func (s *Sim) setParameter(register byte, v uint16) []sensor.Packet {
	switch {
	case register == 4 && v >= 1 && v <= 12:
		s.baudN = v
	case register == 5 && v >= 1 && v <= 5:
		s.level = v
	case register == 6 && v <= 3:
		s.sizeCode = v
	case register >= 4 && register <= 6:
		return s.ack(sensor.BadValue)
	default:
		return s.ack(sensor.BadRegister)
	}
	return s.ack(sensor.OK)
}

func (s *Sim) systemParameters() []byte {
	be := binary.BigEndian
	var status uint16
	if s.verified {
		status |= 4
	}
	if s.image != nil {
		status |= 8
	}
	b := be.AppendUint16(nil, status)
	b = be.AppendUint16(b, s.p.SystemID)
	b = be.AppendUint16(b, uint16(s.p.Capacity))
	b = be.AppendUint16(b, s.level)
	b = be.AppendUint32(b, s.address)
	b = be.AppendUint16(b, s.sizeCode)
	return be.AppendUint16(b, s.baudN)
}

// product is the 46 bytes of ReadProdInfo: model 16, batch 4, serial 8,
// hardware 2, sensor 8, width 2, height 2, template size 2, templates 2.
func (s *Sim) product() []byte {
	b := make([]byte, 46)
	copy(b[0:16], s.p.Model)
	copy(b[16:20], "SIM1")
	copy(b[20:28], "00000503")
	b[28], b[29] = 1, 2
	copy(b[30:38], "GR192RGB")
	be := binary.BigEndian
	be.PutUint16(b[38:], uint16(s.p.Width))
	be.PutUint16(b[40:], uint16(s.p.Height))
	be.PutUint16(b[42:], uint16(s.p.TemplateSize))
	be.PutUint16(b[44:], uint16(s.p.Capacity))
	return b
}

func (s *Sim) regModel() []sensor.Packet {
	var captures [][]int8
	for n := 1; n <= s.p.Buffers; n++ {
		if b := s.buffers[byte(n)]; b != nil {
			v, ok := decode(s.p.Model, b)
			if !ok {
				return s.ack(sensor.MergeFail)
			}
			captures = append(captures, v)
		}
	}
	mean, ok := merge(captures)
	if !ok || len(captures) < 2 {
		return s.ack(sensor.MergeFail)
	}
	t := encode(s.p.Model, mean, len(captures), s.p.TemplateSize)
	clear(s.buffers)
	s.buffers[1], s.buffers[2] = t, t
	return s.ack(sensor.OK)
}

func (s *Sim) threshold() int { return scoreThreshold + levelStep*(int(s.level)-3) + scoreThreshold }

// compare is the score of two files, 0 where either is not readable.
func (s *Sim) compare(a, b []byte) int {
	x, ok := decode(s.p.Model, a)
	y, ok2 := decode(s.p.Model, b)
	if !ok || !ok2 {
		return 0
	}
	if n := score(x, y); n >= s.threshold() {
		return n
	}
	return 0
}

func (s *Sim) match() []sensor.Packet {
	n := s.compare(s.buffers[1], s.buffers[2])
	if n == 0 {
		return s.ack(sensor.NoMatch, 0, 0)
	}
	return s.ack(sensor.OK, byte(n>>8), byte(n))
}

func (s *Sim) search(buffer byte, first, n int) ([]sensor.Packet, time.Duration) {
	best, at := 0, 0
	for id := first; id < min(first+n, s.p.Capacity); id++ {
		if t := s.library[id]; t != nil {
			if sc := s.compare(s.buffers[buffer], t); sc > best {
				best, at = sc, id
			}
		}
	}
	took := timeMatch * time.Duration(1+len(s.library))
	code := sensor.OK
	if best == 0 {
		code = sensor.NotFound
	}
	return s.ack(code, byte(at>>8), byte(at), byte(best>>8), byte(best)), took
}

func (s *Sim) store(buffer byte, id int) []sensor.Packet {
	switch {
	case id >= s.p.Capacity:
		return s.ack(sensor.BadID)
	case s.buffers[buffer] == nil:
		return s.ack(sensor.FlashError)
	}
	s.library[id] = s.buffers[buffer]
	return s.ack(sensor.OK)
}

func (s *Sim) index(page int) []sensor.Packet {
	if page > 3 {
		return s.ack(sensor.BadID)
	}
	b := make([]byte, 32)
	for id := range s.library {
		if id/256 == page {
			b[id%256/8] |= 1 << (id % 8)
		}
	}
	return s.ack(sensor.OK, b...)
}

// packed is the picture at 4 bits a pixel, the left one in the high nibble.
func (s *Sim) packed() []byte {
	g := s.image.finger.picture(s.image.number, s.p.Width, s.p.Height, s.p.DPI)
	b := make([]byte, s.p.Width*s.p.Height/2)
	for i := range b {
		b[i] = g.Pix[2*i]&0xF0 | g.Pix[2*i+1]>>4
	}
	return b
}
