package opencv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/faceprint/faceprint/vision"
)

// ErrSource: the camera's source cannot be used, or gives nothing. The
// camera goes on trying.
var ErrSource = errors.New("no picture from the camera")

// ErrClosed: the camera was closed.
var ErrClosed = errors.New("opencv: camera closed")

// CameraConfig says where frames come from and how they are turned. The zero
// values of all but Source are sound.
type CameraConfig struct {
	Source        string        // see parseSource: device, libcamera, pipeline, URL or file
	Width, Height int           // asked of the device, pixels; 0 = by Reach, or its own choice
	Reach         float64       // how far away a face may be, metres, of which the size follows; 0 = unknown
	FPS           int           // asked of the device; 0 = its own choice
	Rotate        int           // clockwise: 0, 90, 180 or 270 degrees
	Mirror        bool          // left and right exchanged, after the rotation
	Patience      time.Duration // a source without a frame for so long is silent; 0 = 5 s
	Log           *slog.Logger  // nil = slog.Default

	open opener // tests only
}

// Condition of the camera's source.
type Condition uint8

const (
	Opening Condition = iota // no frame yet
	Live                     // frames come
	Silent                   // it is open, but nothing comes
	Lost                     // it cannot be opened, or ended; tried again with back-off
	Closed
)

var conditionNames = [...]string{"opening", "live", "silent", "lost", "closed"}

// String is the stable name of the condition.
func (c Condition) String() string {
	if int(c) < len(conditionNames) {
		return conditionNames[c]
	}
	return "unknown"
}

// State of the camera, for status.
type State struct {
	Condition     Condition
	Source        string // without credentials
	Err           error  // why it is silent or lost
	Width, Height int    // of the last frame as handed out, 0 before the first
	Frames        uint64 // received since the camera was opened
	Reopened      uint64 // times the source was lost
	At            time.Time
}

// Tuned numbers of the camera.
const (
	defaultPatience = 5 * time.Second        // a USB camera's first frame may take 2 to 3 s
	firstBackoff    = 250 * time.Millisecond // doubled at every failure ...
	lastBackoff     = 10 * time.Second       // ... up to this
	closePatience   = 3 * time.Second        // how long Close waits for a source that hangs in the kernel
)

// grabber is an open source. Its methods are called by one goroutine.
type grabber interface {
	// grab waits for the next frame. The pixels, BGR, are valid until the
	// next call.
	grab() (pix []byte, width, height int, err error)
	close()
}

// opener opens a source; it may take long. A clip is paced by the grabber.
type opener func(ctx context.Context, s source, c *CameraConfig) (grabber, error)

// Camera hands out the newest frame of a source. A goroutine of its own reads
// the source all the time, so that nothing old is ever queued; when the
// source goes away it is opened again with back-off.
type Camera struct {
	config CameraConfig
	log    *slog.Logger

	mu      sync.Mutex
	news    chan struct{} // closed and replaced whenever something below changes
	pix     []byte        // the newest frame, as the source gave it
	width   int
	height  int
	seq     uint64
	taken   uint64 // seq of the frame that Frame handed out last
	stale   uint64 // frames up to this seq are not handed out any more
	state   State
	since   time.Time // of the last frame, or of the opening
	moved   time.Time // of the last frame that was not the same as the one before
	cancel  context.CancelFunc
	reading *sync.WaitGroup // of the present source's goroutine
	closed  bool
}

// OpenCamera starts reading the source. It fails when the configuration makes
// no sense; a source that is not there yet is a State.
func OpenCamera(ctx context.Context, c CameraConfig) (*Camera, error) {
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	if c.open == nil {
		c.open = openSource
	}
	if c.Rotate%90 != 0 || c.Rotate < 0 || c.Rotate > 270 {
		return nil, fmt.Errorf("opencv: camera rotation of %d degrees, only 0, 90, 180 and 270 are possible: %w", c.Rotate, ErrSource)
	}
	if c.Width < 0 || c.Height < 0 || c.FPS < 0 || c.Width > vision.MaxSide || c.Height > vision.MaxSide || c.FPS > 1000 {
		return nil, fmt.Errorf("opencv: a camera of %dx%d at %d frames a second: %w", c.Width, c.Height, c.FPS, ErrSource)
	}
	if c.Reach != 0 {
		w, h, ok := vision.FrameFor(c.Reach)
		if !ok {
			return nil, fmt.Errorf("opencv: no camera's picture is good enough for faces %g m away, up to %g m are possible: %w", c.Reach, vision.MaxReach, ErrSource)
		}
		if c.Width == 0 && c.Height == 0 {
			c.Width, c.Height = w, h
		}
	}
	cam := &Camera{config: c, log: c.Log, news: make(chan struct{})}
	if cam.log == nil {
		cam.log = slog.Default()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := cam.Switch(c.Source); err != nil {
		return nil, err
	}
	return cam, nil
}

// Switch lets go of the present source and reads another. Frames of the old
// one are not handed out any more.
func (c *Camera) Switch(name string) error {
	s, err := parseSource(name, c.config.Width, c.config.Height, c.config.FPS)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.cancel != nil {
		c.cancel()
	}
	before := c.reading
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.reading = new(sync.WaitGroup)
	c.forget()
	c.state = State{Condition: Opening, Source: s.shown(), Frames: c.state.Frames}
	c.since = time.Now()
	c.changed()
	c.reading.Go(func() {
		if before != nil {
			before.Wait() // a device can be open only once
		}
		c.read(ctx, s)
	})
	return nil
}

// forget overwrites the newest frame and lets nobody have it: who stood there last
// may be gone for hours when the source is back. c.mu is held.
func (c *Camera) forget() {
	clear(c.pix)
	c.stale = c.seq
}

// changed wakes everyone who waits. c.mu is held.
func (c *Camera) changed() {
	close(c.news)
	c.news = make(chan struct{})
}

// read opens the source and reads it until ctx ends.
func (c *Camera) read(ctx context.Context, s source) {
	wait := firstBackoff
	for ctx.Err() == nil {
		n, err := c.readOnce(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if n > 0 {
			wait = firstBackoff
		}
		c.mu.Lock()
		c.forget()
		c.state.Condition, c.state.Err = Lost, err
		c.state.Reopened++
		c.changed()
		c.mu.Unlock()
		c.log.Warn("camera lost, trying again", "source", s.shown(), "after", wait, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastBackoff)
	}
}

// readOnce reads until the source fails, and says how many frames came.
func (c *Camera) readOnce(ctx context.Context, s source) (frames int, err error) {
	g, err := c.config.open(ctx, s, &c.config)
	if err != nil {
		return 0, fmt.Errorf("opencv: %s: %w: %w", s.shown(), err, ErrSource)
	}
	defer g.close()
	for ctx.Err() == nil {
		pix, w, h, err := g.grab()
		if err != nil {
			return frames, fmt.Errorf("opencv: %s: %w: %w", s.shown(), err, ErrSource)
		}
		if !c.take(ctx, pix, w, h) {
			continue
		}
		if s.kind != kindClip && c.frozen() {
			return 0, fmt.Errorf("opencv: %s: not one pixel changed for %v: is the lens covered, or has the camera hung up?: %w", s.shown(), c.config.Patience, ErrSource)
		}
		if frames++; frames == 1 {
			c.log.Info("camera live", "source", s.shown(), "width", w, "height", h)
		}
	}
	return frames, nil
}

// frozen tells whether the source gives the same picture again and again, which
// no sensor does.
func (c *Camera) frozen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since.Sub(c.moved) > c.config.Patience
}

// take keeps the frame as the newest; false when it is none or too late.
func (c *Camera) take(ctx context.Context, pix []byte, w, h int) bool {
	if w <= 0 || h <= 0 || len(pix) != 3*w*h {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	if len(c.pix) != len(pix) {
		clear(c.pix)
		c.pix = make([]byte, len(pix))
	}
	c.since = time.Now()
	if c.state.Condition != Live || !bytes.Equal(c.pix, pix) { // which ends at the first pixel that moved
		c.moved = c.since
	}
	copy(c.pix, pix)
	c.width, c.height = w, h
	c.seq++
	c.state.Condition, c.state.Err = Live, nil
	c.state.Frames++
	c.state.Width, c.state.Height = w, h
	if c.config.Rotate%180 != 0 {
		c.state.Width, c.state.Height = h, w
	}
	c.state.At = c.since
	c.changed()
	return true
}

// Frame returns a frame that is newer than the last one returned, waiting for
// it if need be. It is the caller's, who wipes it. Where the source is lost or
// silent, and has been for the camera's patience or until the context ended, the
// error wraps ErrSource, and of a silent one vision.ErrSilent; a later call may succeed.
func (c *Camera) Frame(ctx context.Context) (*vision.Frame, error) {
	return c.newer(ctx, &c.taken)
}

// Next is Frame for an onlooker, such as a preview: it returns a frame whose
// number is above after and takes none from those who use Frame.
func (c *Camera) Next(ctx context.Context, after uint64) (*vision.Frame, error) {
	return c.newer(ctx, &after)
}

// newer waits for a frame that is newer than *seen and notes it there; *seen
// is read and written with c.mu held.
func (c *Camera) newer(ctx context.Context, seen *uint64) (*vision.Frame, error) {
	var overdue *time.Timer
	defer func() {
		if overdue != nil {
			overdue.Stop()
		}
	}()
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return nil, ErrClosed
		case ctx.Err() != nil && c.state.Condition != Lost: // a source that was lost is named below
			c.mu.Unlock()
			return nil, ctx.Err()
		case c.seq > max(*seen, c.stale) && time.Since(c.since) < c.config.Patience:
			f := c.turned()
			*seen = c.seq
			c.mu.Unlock()
			return f, nil
		}
		// A source that was lost may be back in a moment, as a cable that is loose is.
		news := c.news
		left, lost := c.config.Patience-time.Since(c.since), c.state.Condition == Lost
		why := c.state.Err
		if left <= 0 && lost {
			c.mu.Unlock()
			return nil, why
		}
		if left <= 0 {
			err := c.silent()
			c.mu.Unlock()
			return nil, err
		}
		c.mu.Unlock()
		if overdue == nil {
			overdue = time.NewTimer(left)
		} else {
			overdue.Reset(left)
		}
		select {
		case <-ctx.Done():
			if lost {
				return nil, fmt.Errorf("%w: %w", ctx.Err(), why)
			}
			return nil, ctx.Err()
		case <-news:
		case <-overdue.C:
		}
	}
}

// silent notes that the source gives nothing. c.mu is held.
func (c *Camera) silent() error {
	c.forget()
	c.state.Condition = Silent
	c.state.Err = fmt.Errorf("opencv: %s: no frame for %v: is it covered by another program, or unplugged?: %w: %w", c.state.Source, c.config.Patience, vision.ErrSilent, ErrSource)
	return c.state.Err
}

// turned copies the newest frame as it is to be seen. c.mu is held.
func (c *Camera) turned() *vision.Frame {
	f := &vision.Frame{Width: c.width, Height: c.height, Seq: c.seq, At: c.since, Pix: make([]byte, len(c.pix))}
	if c.config.Rotate == 0 && !c.config.Mirror {
		copy(f.Pix, c.pix)
		return f
	}
	if c.config.Rotate%180 != 0 {
		f.Width, f.Height = c.height, c.width
	}
	// The pixel that is seen at x, y is at start + x*right + y*down.
	w := c.width
	var start, right, down int
	switch c.config.Rotate {
	case 0:
		start, right, down = 0, 1, w
	case 90:
		start, right, down = (c.height-1)*w, -w, 1
	case 180:
		start, right, down = c.height*w-1, -1, -w
	case 270:
		start, right, down = w-1, w, -1
	}
	if c.config.Mirror {
		start, right = start+(f.Width-1)*right, -right
	}
	o := f.Pix
	for y := range f.Height {
		i := start + y*down
		for range f.Width {
			o[0], o[1], o[2] = c.pix[3*i], c.pix[3*i+1], c.pix[3*i+2]
			o, i = o[3:], i+right
		}
	}
	return f
}

// State of the camera now.
func (c *Camera) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	if (s.Condition == Live || s.Condition == Opening) && time.Since(c.since) > c.config.Patience {
		_ = c.silent()
		s = c.state
	}
	return s
}

// Close stops reading and wipes the last frame. A source that hangs in the
// kernel is given up after some seconds, with an error.
func (c *Camera) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.cancel()
	clear(c.pix)
	c.state.Condition, c.state.Err = Closed, nil
	reading := c.reading
	c.changed()
	c.mu.Unlock()
	ended := make(chan struct{})
	go func() { reading.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(closePatience):
		return fmt.Errorf("opencv: %s did not let go within %v: %w", c.state.Source, closePatience, ErrSource)
	}
}
