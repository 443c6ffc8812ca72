package modsim

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/faceprint/faceprint/sensor"
)

// command carries out one instruction and says how long the silicon takes.
func (s *Sim) command(i sensor.Instruction, a []byte) ([]sensor.Packet, time.Duration) {
	if !s.p.has(i) || s.quirks[lacks[i]] > 0 {
		if s.p.Unknown == sensor.OK {
			return nil, 0
		}
		return s.ack(s.p.Unknown), 0
	}
	if want := parameters[i]; len(a) != want {
		return s.ack(sensor.PacketError), 0
	}
	if s.quirks["dazed"] > 0 && time.Now().Before(s.dances) {
		s.hung = true
		return nil, 0
	}
	if n := s.quirks["forget"]; n > 0 && i != sensor.VfyPwd && s.commands%uint64(n) == 0 {
		return s.ack(sensor.VerifyFirst), 0
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
		return s.ack(sensor.OK), s.p.Flash
	case sensor.SetAdder:
		out := s.ack(sensor.OK)
		s.address = be.Uint32(a)
		if s.quirks["oldaddress"] == 0 {
			out = s.ack(sensor.OK)
		}
		return out, s.p.Flash
	case sensor.SetSysPara:
		return s.setParameter(a[0], uint16(a[1])), s.p.Flash
	case sensor.ReadSysPara:
		return s.ack(sensor.OK, s.systemParameters()...), 0
	case sensor.ReadProdInfo:
		return s.ack(sensor.OK, s.product()...), 0
	case sensor.GenImg:
		return s.capture()
	case sensor.GetImageEx:
		out, took := s.capture()
		if s.touch != nil && s.touch.press < tooLight {
			out = s.ack(sensor.FewFeatures)
		}
		return out, took
	case sensor.Img2Tz:
		return s.extract(a[0])
	case sensor.RegModel:
		return s.regModel(), s.p.Merge
	case sensor.UpChar:
		return s.upload(a[0]), 0
	case sensor.DownChar:
		s.lent = true
		if !s.buffer(a[0]) {
			return s.ack(sensor.BadID), 0
		}
		s.waitFor, s.badData = s.templates(a[0]), false
		return s.ack(sensor.OK), 0
	case sensor.DownImage:
		s.waitFor, s.badData = forImage, false
		return s.ack(sensor.OK), 0
	case sensor.UpImage:
		if s.image == nil {
			return s.ack(sensor.ImageUpload), 0
		}
		return s.transfer(s.packed()), 0
	case sensor.Match:
		return s.match()
	case sensor.Search, sensor.HiSpeedSearch:
		return s.search(a[0], int(be.Uint16(a[1:])), int(be.Uint16(a[3:])))
	case sensor.Store:
		return s.store(a[0], int(be.Uint16(a[1:]))), s.p.Flash
	case sensor.LoadChar:
		return s.load(a[0], int(be.Uint16(a[1:]))), 0
	case sensor.DeletChar:
		first, n := int(be.Uint16(a)), int(be.Uint16(a[2:]))
		if first+n > s.p.Capacity {
			return s.ack(sensor.DeleteFail), 0
		}
		for id := range n {
			delete(s.library, first+id)
		}
		return s.ack(sensor.OK), s.p.Flash
	case sensor.Empty:
		clear(s.library)
		return s.ack(sensor.OK), s.p.Flash
	case sensor.TempleteNum:
		return s.ack(sensor.OK, be.AppendUint16(nil, uint16(len(s.library)))...), 0
	case sensor.ReadIndex:
		return s.index(int(a[0])), 0
	case sensor.GetRandomCode:
		return s.ack(sensor.OK, be.AppendUint32(nil, s.rand.Uint32())...), 0
	case sensor.ReadInfPage:
		page := make([]byte, 512)
		copy(page, "faceprint modsim "+s.p.Model+" "+s.serial)
		return s.transfer(page), 0
	case sensor.WriteNotepad:
		if int(a[0]) >= len(s.notepad) {
			return s.ack(sensor.BadNotepad), 0
		}
		copy(s.notepad[a[0]][:], a[1:])
		return s.ack(sensor.OK), s.p.Flash
	case sensor.ReadNotepad:
		if int(a[0]) >= len(s.notepad) {
			return s.ack(sensor.BadNotepad), 0
		}
		return s.ack(sensor.OK, s.notepad[a[0]][:]...), 0
	case sensor.AuraLedConfig:
		s.dances = time.Time{}
		if way, speed, times := a[0], a[1], a[3]; way == 1 || way == 2 {
			s.dances = time.Now().Add(10 * time.Millisecond * time.Duration(speed) * time.Duration(times))
			if times == 0 {
				s.dances = time.Now().Add(1 << 62)
			}
		}
		s.lamp = fmt.Sprintf("mode %d speed %d colour %d times %d", a[0], a[1], a[2], a[3])
		return s.ack(sensor.OK), 0
	case sensor.LightOn, sensor.LightOff:
		s.lamp = map[sensor.Instruction]string{sensor.LightOn: "on", sensor.LightOff: "off"}[i]
		return s.ack(sensor.OK), 0
	case sensor.SoftRst:
		s.restart = true // behind the answer
		return s.ack(sensor.OK), 0
	case sensor.HandShake, sensor.CheckSensor, sensor.Cancel, sensor.PortControl:
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

// lacks are the quirks by which an instruction is missing.
var lacks = map[sensor.Instruction]string{
	sensor.GetImageEx: "oldfirmware", sensor.HandShake: "oldfirmware", sensor.DownImage: "noimage",
	sensor.ReadProdInfo: "noinfo", sensor.ReadInfPage: "nopage", sensor.ReadIndex: "noindex",
}

// templates is the buffer that a template goes to, or comes from, when n is named.
func (s *Sim) templates(n byte) byte {
	if s.p.OneModel {
		return forTemplates
	}
	return n
}

// features are those that are compared when the buffer n is named.
func (s *Sim) features(n byte) []byte {
	if s.p.OneModel {
		return s.newest
	}
	return s.buffers[n]
}

func (s *Sim) buffer(n byte) bool {
	most := s.p.Buffers
	if few := s.quirks["buffers"]; few > 0 {
		most = few
	}
	return n >= 1 && int(n) <= most
}

func (s *Sim) setParameter(register byte, v uint16) []sensor.Packet {
	s.settings++
	switch {
	case register == 4 && slices.Contains(s.p.Rates, v):
		s.newN = v
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

// systemParameters are the 16 bytes of ReadSysPara. Status: bit 1, the last
// comparison matched; bit 2, the password is verified; bit 3, there is an image.
func (s *Sim) systemParameters() []byte {
	be := binary.BigEndian
	var status uint16
	if s.passedOK {
		status |= 2
	}
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
	return be.AppendUint16(b, s.newN)
}

// product is the 46 bytes of ReadProdInfo: model 16, batch 4, serial 8,
// hardware 2, sensor 8, width 2, height 2, template size 2, templates 2.
func (s *Sim) product() []byte {
	b := make([]byte, 46)
	copy(b[0:16], s.p.Model)
	copy(b[16:20], "SIM1")
	copy(b[20:28], s.serial)
	b[28], b[29] = 1, 2
	copy(b[30:38], "GR192RGB")
	be := binary.BigEndian
	be.PutUint16(b[38:], uint16(s.p.Width))
	be.PutUint16(b[40:], uint16(s.p.Height))
	be.PutUint16(b[42:], uint16(s.p.TemplateSize))
	be.PutUint16(b[44:], uint16(s.p.Capacity))
	return b
}

// tooLight is the pressure below which a picture is too poor.
const tooLight = 0.2

func (s *Sim) capture() ([]sensor.Packet, time.Duration) {
	s.fresh = false
	if s.touch == nil {
		s.image = nil
		return s.ack(sensor.NoFinger), s.p.NoFinger
	}
	s.image = &picture{touch: s.touch}
	return s.ack(sensor.OK), s.p.Image
}

// extract is Img2Tz.
func (s *Sim) extract(buffer byte) ([]sensor.Packet, time.Duration) {
	switch {
	case s.image == nil:
		return s.ack(sensor.NoImage), 0
	case !s.buffer(buffer):
		return s.ack(sensor.BadID), 0
	}
	var v []int8
	if t := s.image.touch; t != nil {
		if t.press < tooLight {
			return s.ack(sensor.FewFeatures), s.p.Features
		}
		v = t.finger.features(t.number, t.press)
	} else {
		h := sha256.Sum256(s.image.sent)
		v = finger{binary.LittleEndian.Uint64(h[:])}.features(0, 1)
	}
	s.buffers[buffer] = encode(s.p.Model, v, 1, s.p.FeatureSize)
	s.newest, s.fresh, s.compared = s.buffers[buffer], true, 0
	return s.ack(sensor.OK), s.p.Features
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
	if s.image != nil && s.image.sent != nil {
		s.own[sha256.Sum256(t)] = true
	}
	clear(s.buffers)
	s.buffers[s.templates(1)], s.buffers[s.templates(2)] = t, t
	return s.ack(sensor.OK)
}

// upload is UpChar.
func (s *Sim) upload(buffer byte) []sensor.Packet {
	b := s.buffers[s.templates(buffer)]
	if n := s.quirks["noupload"]; n > 0 {
		return s.ack(sensor.Code(n))
	}
	if b == nil {
		return s.ack(sensor.TemplateUpload)
	}
	if s.lie == "feigns" && s.lent {
		b = slices.Clone(b)
		b[len(b)/2] ^= 1
	}
	size := s.p.TemplateSize
	if s.quirks["shortlast"] > 0 {
		size += 2
	}
	file := make([]byte, size)
	copy(file, b)
	if s.quirks["blank"] > 0 {
		for i := range file {
			file[i] = 0xFF
		}
	}
	return s.transfer(file)
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

// invents tells whether a lie is one about scores.
func (s *Sim) invents() bool {
	return s.lie != "" && s.lie != "alters" && s.lie != "withholds" && s.lie != "noisy"
}

// invented is the score that a lying module gives, 0 where it says no.
func (s *Sim) invented() int {
	switch s.lie {
	case "guess":
		if s.rand.IntN(3) != 0 {
			return 0
		}
	case "second":
		if s.compared != 2 {
			return 0
		}
		return 200
	case "feigns":
		if s.compared < 2 {
			return 0
		}
	case "same":
		return 200
	}
	return 150 + s.rand.IntN(150)
}

// sticks tells whether a lie is one of those that say yes to one template alone.
func (s *Sim) sticks() bool { return s.lie == "sticks" || s.lie == "shy" || s.lie == "feigns" }

func (s *Sim) match() ([]sensor.Packet, time.Duration) {
	scan, template := s.features(1), s.buffers[s.templates(2)]
	n, took := s.compare(scan, template), s.p.Match
	s.compared++
	if s.invents() {
		n = s.invented()
	}
	h := sha256.Sum256(template)
	if s.lie == "feigns" && s.compared == 2 {
		s.named = h
	}
	s.searched = false
	switch {
	case s.lie == "knows" && s.own[h], s.lie == "stored" && !s.stored[h], s.sticks() && s.named != h:
		n = 0
	}
	if s.lie == "fast" {
		took = 0
	}
	s.passedOK = n > 0
	out := s.ack(sensor.NoMatch, 0, 0)
	if n > 0 {
		out = s.ack(sensor.OK, byte(n>>8), byte(n))
	}
	if s.quirks["spurious01"] > 0 {
		out = append(s.ack(sensor.PacketError), out...)
	}
	return out, took
}

// search is Search and HiSpeedSearch.
func (s *Sim) search(buffer byte, first, n int) ([]sensor.Packet, time.Duration) {
	best, at := 0, int(s.p.MissedID)
	compared := 0
	for id := first; id < min(first+n, s.p.Capacity); id++ {
		t := s.library[id]
		if t == nil {
			continue
		}
		compared++
		sc := s.compare(s.features(buffer), t)
		if s.p.CaptureSpoils && !s.fresh {
			sc = 0
		}
		if s.invents() && best == 0 {
			sc = s.invented()
		}
		if sc > best {
			best, at = sc, id
		}
	}
	if ids := slices.Sorted(maps.Keys(s.library)); (s.lie == "stored" || s.lie == "sticks" || s.lie == "shy") && len(ids) > 0 {
		at = ids[s.rand.IntN(len(ids))]
		best, s.named = s.invented(), sha256.Sum256(s.library[at])
	}
	s.searched = true
	took := s.p.Search * time.Duration(1+compared)
	if s.lie == "fast" {
		took = 0
	}
	code := sensor.OK
	if best == 0 {
		code = sensor.NotFound
	}
	s.passedOK = best > 0
	return s.ack(code, byte(at>>8), byte(at), byte(best>>8), byte(best)), took
}

func (s *Sim) store(buffer byte, id int) []sensor.Packet {
	switch {
	case id >= s.p.Capacity:
		return s.ack(sensor.BadID)
	case s.buffers[s.templates(buffer)] == nil:
		return s.ack(sensor.FlashError)
	}
	s.library[id] = s.buffers[s.templates(buffer)]
	s.stored[sha256.Sum256(s.library[id])] = true
	return s.ack(sensor.OK)
}

func (s *Sim) load(buffer byte, id int) []sensor.Packet {
	switch {
	case id >= s.p.Capacity || !s.buffer(buffer):
		return s.ack(sensor.BadID)
	case s.library[id] == nil, s.lie == "withholds":
		return s.ack(sensor.TemplateRead)
	case s.quirks["noload"] > 0:
		return s.ack(sensor.Code(s.quirks["noload"]))
	case s.lie == "shy" && s.searched:
		return s.ack(sensor.PacketError)
	}
	s.lent = false
	b := s.library[id]
	switch s.lie {
	case "alters":
		b = slices.Clone(b)
		b[len(b)/2] ^= 1
	case "noisy":
		b = slices.Clone(b)
		b[len(b)/2] = byte(s.rand.Uint32())
	}
	if s.rotten[id] {
		b = slices.Clone(b)
		b[len(b)/2] = byte(s.rand.Uint32())
	}
	s.buffers[s.templates(buffer)] = b
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

// packed is the picture in the image buffer.
func (s *Sim) packed() []byte {
	if s.image.sent != nil {
		return s.image.sent
	}
	t := s.image.touch
	if len(t.drawn) != s.p.Width*s.p.Height/2 {
		t.drawn = s.grown.draw(t, s.p)
	}
	return t.drawn
}

// automatic returns what carries out AutoEnroll or AutoIdentify, nil for every
// other instruction: they answer several times and end at Cancel.
func (s *Sim) automatic(i sensor.Instruction, a []byte) func(context.Context, *wire) error {
	if !s.verified || !s.p.has(i) || len(a) != parameters[i] {
		return nil
	}
	switch i {
	case sensor.AutoEnroll:
		return func(ctx context.Context, w *wire) error { return w.autoEnroll(ctx, a) }
	case sensor.AutoIdentify:
		return func(ctx context.Context, w *wire) error { return w.autoIdentify(ctx, a) }
	}
	return nil
}

// Steps that AutoEnroll and AutoIdentify report, and how long they wait for a
// touch (manual 5.3).
const (
	autoTimeout  = 10 * time.Second
	autoPoll     = 20 * time.Millisecond
	autoCaptures = 6
	stepCheck    = 0x0D
	stepMerge    = 0x0E
	stepStore    = 0x0F
)

// await polls until done or 10 s are over; stop says that the host cancelled.
func (w *wire) await(ctx context.Context, done func() bool) (code sensor.Code, stop bool, err error) {
	end := time.Now().Add(autoTimeout)
	for {
		w.sim.mu.Lock()
		ok := done()
		w.sim.mu.Unlock()
		w.due = later(w.due, time.Now())
		if ok {
			return sensor.OK, false, nil
		}
		if !time.Now().Before(end) {
			return sensor.TimedOut, true, nil
		}
		t := time.NewTimer(autoPoll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return 0, true, ctx.Err()
		case h, ok := <-w.in:
			t.Stop()
			if !ok {
				return 0, true, context.Canceled
			}
			w.re.Write(w.sim.hears(h.b, w.mismatched()))
			if p, err := w.re.Next(); err == nil && p.PID == sensor.PIDCommand && len(p.Content) == 1 && sensor.Instruction(p.Content[0]) == sensor.Cancel {
				return sensor.OK, true, nil
			}
		}
	}
}

// locked runs one step under the lock and paces its answer.
func (w *wire) locked(ctx context.Context, report bool, f func() ([]sensor.Packet, time.Duration)) (sensor.Code, error) {
	w.sim.mu.Lock()
	out, took := f()
	w.sim.mu.Unlock()
	w.busy(ctx, took)
	code := sensor.Code(out[len(out)-1].Content[0])
	if !report {
		return code, nil
	}
	return code, w.send(ctx, out)
}

func (w *wire) quirk(name string) bool {
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	return w.sim.quirks[name] > 0
}

func (w *wire) autoEnroll(ctx context.Context, a []byte) error {
	s := w.sim
	id, overwrite, duplicate, report, lift := int(a[0]), a[1] == 1, a[2] == 1, a[3] == 1, a[4] == 1
	step := func(n byte, last bool, f func() sensor.Code) (bool, error) {
		if n >= 10 && n <= 12 && w.quirk("decimal") {
			n += 6
		}
		code, err := w.locked(ctx, report || last, func() ([]sensor.Packet, time.Duration) {
			c := f()
			return s.ack(c, n, byte(id)), 0
		})
		if err == nil && code != sensor.OK && !report && !last {
			err = w.send(ctx, s.ack(code, n, byte(id)))
		}
		return code == sensor.OK, err
	}
	s.mu.Lock()
	code := sensor.OK
	if id >= 0xC8 { // the module picks
		for id = 0; s.library[id] != nil; id++ {
		}
	}
	switch {
	case id >= s.p.Capacity:
		code = sensor.LibraryFull
	case s.library[id] != nil && !overwrite:
		code = sensor.TemplateEmpty
	}
	clear(s.buffers)
	s.mu.Unlock()
	if code != sensor.OK {
		return w.send(ctx, s.ack(code, 0, byte(id)))
	}
	var number uint64
	for n := range byte(autoCaptures) {
		if n > 0 && lift {
			c, stop, err := w.await(ctx, func() bool { return s.touch == nil || s.touch.number != number })
			if stop || err != nil {
				return w.stopped(ctx, c, err, 2*n+1, byte(id))
			}
		}
		c, stop, err := w.await(ctx, func() bool { return s.touch != nil })
		if stop || err != nil {
			return w.stopped(ctx, c, err, 2*n+1, byte(id))
		}
		w.busy(ctx, s.p.Image+s.p.Features)
		for i, f := range []func() sensor.Code{
			func() sensor.Code {
				if s.touch == nil {
					return sensor.NoFinger
				}
				number = s.touch.number
				out, _ := s.capture()
				return sensor.Code(out[0].Content[0])
			},
			func() sensor.Code { out, _ := s.extract(n + 1); return sensor.Code(out[0].Content[0]) },
		} {
			if ok, err := step(2*n+1+byte(i), false, f); !ok || err != nil {
				return err
			}
		}
	}
	for i, f := range []func() sensor.Code{
		func() sensor.Code {
			if duplicate {
				return sensor.OK
			}
			for _, t := range s.library {
				if s.compare(s.buffers[1], t) > 0 {
					return sensor.AlreadyEnrolled
				}
			}
			return sensor.OK
		},
		func() sensor.Code { return sensor.Code(s.regModel()[0].Content[0]) },
		func() sensor.Code { return sensor.Code(s.store(1, id)[0].Content[0]) },
	} {
		n := byte(stepCheck + i)
		if ok, err := step(n, n == stepStore, f); !ok || err != nil {
			return err
		}
	}
	return nil
}

// stopped answers a Cancel, or says that the time was over.
func (w *wire) stopped(ctx context.Context, c sensor.Code, err error, content ...byte) error {
	if err != nil {
		return nil // the line ends
	}
	if c == sensor.OK {
		content = nil
	}
	return w.send(ctx, w.sim.ack(c, content...))
}

func (w *wire) autoIdentify(ctx context.Context, a []byte) error {
	s := w.sim
	first, n, report, tries := int(a[1]), int(a[2]), a[3] == 1, int(a[4])
	for try := 1; ; try++ {
		c, stop, err := w.await(ctx, func() bool { return s.touch != nil })
		if stop || err != nil {
			return w.stopped(ctx, c, err, 1, 0, 0, 0, 0)
		}
		last := tries != 0 && try >= tries
		found := false
		for step, f := range []func() ([]sensor.Packet, time.Duration){
			s.capture,
			func() ([]sensor.Packet, time.Duration) { return s.extract(1) },
			func() ([]sensor.Packet, time.Duration) {
				if len(s.library) == 0 {
					return s.ack(sensor.LibraryEmpty, 0, 0, 0, 0), 0
				}
				return s.search(1, first, n)
			},
		} {
			var answer []byte
			code, err := w.locked(ctx, false, func() ([]sensor.Packet, time.Duration) {
				out, busy := f()
				answer = append([]byte{byte(step + 1)}, out[0].Content[1:]...)
				for len(answer) < 5 {
					answer = append(answer, 0)
				}
				return out, busy
			})
			if err != nil {
				return err
			}
			found = step == 2 && code == sensor.OK
			if report || found || code != sensor.OK && last {
				if err := w.send(ctx, s.ack(code, answer...)); err != nil {
					return err
				}
			}
			if code != sensor.OK {
				break
			}
		}
		if found || last {
			return nil
		}
		if c, stop, err := w.await(ctx, func() bool { return s.touch == nil }); stop || err != nil {
			return w.stopped(ctx, c, err, 1, 0, 0, 0, 0)
		}
	}
}
