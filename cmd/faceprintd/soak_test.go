package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/kiosk"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// The day of a terminal in a corridor: people who are enrolled and people who
// are not step up, walk past, come in twos, hold up a photograph, lay down the
// wrong finger, turn back half-way. The authenticator, its vault and the
// kiosk's server are the real ones, and so are the requests of the page; camera,
// face model, finger reader and the clock are not.

// somebody who steps up.
type somebody struct {
	face   int     // whose; 0 = nobody is there
	beside int     // and who stands beside them
	live   float32 // a photograph is not
	finger string  // that they lay down when asked
}

// corridor is what the hardware sees.
type corridor struct {
	mu    sync.Mutex
	there somebody
	moved chan struct{} // closed when that changes
	seq   uint64
}

const sill = 66 * time.Millisecond // between frames

func (c *corridor) step(s somebody) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.there = s
	close(c.moved)
	c.moved = make(chan struct{})
}

func (c *corridor) Frame(ctx context.Context) (*vision.Frame, error) {
	select {
	case <-time.After(sill):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	f := &vision.Frame{Pix: make([]byte, 3*64*64), Width: 64, Height: 64, Seq: c.seq, At: time.Now()}
	binary.LittleEndian.PutUint64(f.Pix, c.seq) // no camera takes the same picture twice
	f.Pix[8], f.Pix[9], f.Pix[10] = byte(c.there.face), byte(c.there.beside), byte(100*c.there.live)
	return f, nil
}

func (c *corridor) Detect(f *vision.Frame) ([]vision.Face, error) {
	var faces []vision.Face
	for i, who := range f.Pix[8:10] {
		if x := float32(32 * i); who != 0 {
			faces = append(faces, vision.Face{
				Box: vision.Box{X0: x, X1: x + 32, Y1: 64}, Score: float32(who),
				Quality: vision.Quality{Size: 200, Sharpness: 300, Brightness: 120, Contrast: 40, Inside: 1},
			})
		}
	}
	return faces, nil
}

func (c *corridor) Describe(f *vision.Frame, face *vision.Face) error {
	e := make(vision.Embedding, 32)
	e[int(face.Score)] = 1
	face.Embedding, face.Live = e, float32(f.Pix[10])/100
	return nil
}

func (c *corridor) Profile() (vision.Profile, error) {
	table := vision.Table{Source: "made up", Points: []vision.Operating{{FMR: 1e-3, Cosine: 0.3}, {FMR: 1e-7, Cosine: 0.5}}}
	return vision.Profile{Name: "corridor", Liveness: &vision.Liveliner{}, Table: table, Templates: table}, nil
}

func (c *corridor) Scan(ctx context.Context) (sensor.Print, error) {
	select {
	case <-time.After(700 * time.Millisecond): // a reader's own time
	case <-ctx.Done():
		return sensor.Print{}, ctx.Err()
	}
	for {
		c.mu.Lock()
		finger, moved := c.there.finger, c.moved
		c.mu.Unlock()
		if finger != "" {
			return sensor.Print{}, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return sensor.Print{}, ctx.Err()
		}
	}
}

func (c *corridor) Match(_ context.Context, _ sensor.Print, template []byte) (float64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if string(template) == c.there.finger {
		return 200, nil
	}
	return 0, nil
}

func (c *corridor) FMR(score float64) float64 {
	if score >= 100 {
		return 1e-7
	}
	return 1
}

func (c *corridor) Family() string { return "corridor" }

func (c *corridor) Fits([]byte) bool { return true }

func (c *corridor) Enrol(_ context.Context, _ int, progress func(sensor.EnrolStep)) ([]byte, error) {
	progress(sensor.EnrolStep{Done: 1, Of: 1})
	c.mu.Lock()
	defer c.mu.Unlock()
	return []byte(c.there.finger), nil
}

// pipes is a listener on which the page's connections arrive: real sockets do
// not stand still for a virtual clock.
type pipes struct {
	made   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{made: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.made:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.made <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// pageRun is the page as a browser runs it: it waits for somebody to come, and
// then asks who it is.
type pageRun struct {
	http  *http.Client
	token string
	here  chan bool // somebody came, or left
}

func (p *pageRun) call(ctx context.Context, method, path, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:1"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Faceprint-Page", p.token)
	return p.http.Do(r)
}

// load loads the page anew and follows its stream until the context ends.
func (p *pageRun) load(ctx context.Context) error {
	resp, err := p.call(ctx, http.MethodGet, "/", "")
	if err != nil {
		return err
	}
	var text bytes.Buffer
	_, err = text.ReadFrom(resp.Body)
	resp.Body.Close()
	m := pageMeta.FindSubmatch(text.Bytes())
	if err != nil || m == nil {
		return errors.Join(err, errors.New("a page without a token"))
	}
	p.token = string(m[1])
	if resp, err = p.call(ctx, http.MethodGet, "/stream", ""); err != nil {
		return err
	}
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() {
		resp.Body.Close()
		return errors.New("the stream is empty")
	}
	go func() { // ends with the context
		defer resp.Body.Close()
		for lines.Scan() {
			var e client.Event
			if json.Unmarshal(lines.Bytes(), &e) == nil && e.Kind == "presence" {
				select {
				case p.here <- e.Outcome == "came":
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return nil
}

// identify asks who is there.
func (p *pageRun) identify(ctx context.Context) (outcome, name string, err error) {
	resp, err := p.call(ctx, http.MethodPost, "/identify", "{}")
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	var out struct{ Outcome, Name, Detail string }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return "", "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("%s: %s", resp.Status, out.Detail)
	}
	return out.Outcome, out.Name, nil
}

// use is what the process holds.
type use struct {
	heap                    uint64
	descriptors, goroutines int
}

func (u use) String() string {
	return fmt.Sprintf("%.2f MiB of heap, %d descriptors, %d goroutines", float64(u.heap)/(1<<20), u.descriptors, u.goroutines)
}

func used(t *testing.T) use {
	t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return use{m.HeapAlloc, len(open), runtime.NumGoroutine()}
}

// mayGrow is what the heap may grow by in a day: the fingerprints of frames that
// the device remembers against replays fill up in some days to 2 MiB
// (vision.Memory), and a garbage collector leaves a little lying about.
const mayGrow = 3 << 20

// A day of passers-by, two hours of it where 'make nightly' does not ask for all:
// nobody who should not gets in, those who should mostly do, and the process
// holds no more in the end than after the first hour.
func TestADayOfPassersBy(t *testing.T) {
	hours := 2
	if os.Getenv("FACEPRINT_NIGHTLY") != "" {
		hours = 24
	}
	dir := t.TempDir() // outlives the bubble
	synctest.Test(t, func(t *testing.T) { passersBy(t, dir, hours) })
}

func passersBy(t *testing.T, dir string, hours int) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	log := slog.New(slog.DiscardHandler)
	vault, err := store.Open(filepath.Join(dir, "vault.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &corridor{moved: make(chan struct{})}
	// Nobody here moves their head when asked to, so nobody is: after each of the
	// photographs everybody would be, for a while.
	began := time.Now()
	uptime := func() device.Uptime { return device.Uptime{Boot: "this", Since: time.Since(began)} } // lock-outs go by it
	d, err := device.New(device.Hardware{Camera: c, Faces: c, Finger: c, Match: c, Enrol: c, Uptime: uptime}, vault,
		device.Policy{Mode: device.Both, FaceFMR: 1e-4, FingerFMR: 1e-4, Live: 0.5, Challenge: device.ChallengeOff}, device.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	back := &backend{vault: vault, device: d, started: time.Now(), parts: func() []client.Part { return nil }}
	server, err := kiosk.New(back, kiosk.Options{
		Factors: []string{"face", "finger"}, Present: func() bool { return d.Presence() == device.Somebody }, Visit: d.Visit, Log: log,
		Allow: func(int) bool { return true }, Peer: func(net.Conn) (int, error) { return 0, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	line := newPipes()
	transport := &http.Transport{DialContext: line.dial}
	defer func() {
		cancel()
		transport.CloseIdleConnections()
		running.Wait()
		if err := errors.Join(d.Close(), vault.Close()); err != nil {
			t.Error(err)
		}
	}()
	running.Go(func() {
		if err := server.Serve(ctx, line); err != nil {
			t.Error(err)
		}
		line.Close()
	})

	names := map[int]string{1: "Ada", 2: "Grace", 3: "Katherine", 4: "Mary"}
	for face := 1; face <= len(names); face++ {
		c.step(somebody{face: face, live: 0.95, finger: names[face]})
		if _, err := d.Enroll(ctx, device.EnrollRequest{
			Name: names[face], Factors: []device.Factor{device.Face, device.Finger}, Finger: aliceFinger, Consent: store.Consent{At: time.Now(), TextVersion: "test"},
		}); err != nil {
			t.Fatal(err)
		}
	}
	c.step(somebody{})
	running.Go(func() { // as the daemon does
		if err := d.Watch(ctx, 0); err != nil {
			t.Error(err)
		}
	})

	p := &pageRun{http: &http.Client{Transport: transport}, here: make(chan bool, 16)}
	rng := rand.New(rand.NewPCG(8, 24))
	var (
		visits, rightly, wrongly, kept int
		early                          use
		closePage                      = func() {}
	)
	defer func() { closePage() }()
	start := time.Now()
	for hour := 0; hour < hours; {
		if visits%50 == 0 { // a page is loaded anew now and then
			closePage()
			page, leave := context.WithCancel(ctx)
			closePage = leave
			if err := p.load(page); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(10+rng.IntN(200)) * time.Second)
		visits++
		who := 1 + rng.IntN(len(names))
		s, may := somebody{face: who, live: 0.95, finger: names[who]}, true
		switch n := rng.IntN(100); {
		// Failures come no more often than the device forgives them, four an
		// hour: more would lock it, rightly, and the rest of the day show nothing.
		case n < 4: // the wrong finger, of somebody else who is enrolled or of nobody
			s.finger, may = names[1+who%len(names)], false
			if n < 2 {
				s.finger = "unknown"
			}
		case n < 8: // a stranger, who may have got hold of a finger
			s.face, may = 10+rng.IntN(10), false
		case n < 11: // a photograph
			s.live, may = 0.1, false
		case n < 20: // two at once
			s.beside, may = 10+rng.IntN(10), false
		case n < 40: // somebody who walks past
			c.step(s)
			time.Sleep(time.Duration(rng.IntN(900)) * time.Millisecond)
			c.step(somebody{})
			time.Sleep(10 * time.Second)
			for len(p.here) > 0 {
				<-p.here
			}
			continue
		}
		c.step(s)
		if !<-p.here {
			<-p.here // the leaving of whoever was there before
		}
		attempt, stop := context.WithCancel(ctx)
		turnsBack := rng.IntN(20) == 0
		if turnsBack {
			time.AfterFunc(time.Duration(rng.IntN(1500))*time.Millisecond, func() { stop(); c.step(somebody{}) })
		}
		outcome, name, err := p.identify(attempt)
		switch {
		case err != nil && attempt.Err() == nil:
			t.Fatalf("after %v: %v", time.Since(start), err)
		case err == nil && outcome == "granted" && (!may || name != names[who]):
			wrongly++
			t.Errorf("after %v: %+v was let in as %q", time.Since(start), s, name)
		case err == nil && outcome == "granted":
			rightly++
		case may && !turnsBack:
			kept++
		}
		stop()
		time.Sleep(time.Duration(rng.IntN(8)) * time.Second)
		c.step(somebody{})
		for <-p.here { // until they have left
		}
		if now := time.Since(start); now >= time.Duration(hour+1)*time.Hour {
			hour++
			synctest.Wait()
			u := used(t)
			t.Logf("hour %d: %d visits, %d let in, %d kept waiting, %d wrongly let in; %s", hour, visits, rightly, kept, wrongly, u)
			if hour == 1 {
				early = u
			}
			if u.descriptors > early.descriptors || u.goroutines > early.goroutines || u.heap > early.heap+mayGrow {
				t.Errorf("after hour %d the process holds %s; after the first it held %s", hour, u, early)
			}
		}
	}
	if rightly < visits/4 || kept > visits/10 {
		t.Errorf("of %d visits %d were let in, and %d kept waiting who should have been: this test shows little", visits, rightly, kept)
	}
}
