package modsim_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/uart"
	"periph.io/x/conn/v3/uart/uartreg"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/modsim"
	"github.com/faceprint/faceprint/sensor/tty"
)

// client is a program that knows the wire's format and nothing else.
type client struct {
	t    *testing.T
	line interface {
		io.ReadWriter
		SetReadDeadline(time.Time) error
	}
	re sensor.Reassembler
}

// pipe joins a client to a simulator without a terminal between.
func pipe(t *testing.T, s *modsim.Sim) *client {
	host, module := net.Pipe()
	serve(t, func(ctx context.Context) error { return s.Serve(ctx, module) }, func() { host.Close(); module.Close() })
	return &client{t: t, line: host}
}

// terminal joins them by a real pty, which the client opens by its name.
func terminal(t *testing.T, s *modsim.Sim, baud int) *client {
	t.Helper()
	p, err := modsim.OpenPTY(filepath.Join(t.TempDir(), "module"))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, func(ctx context.Context) error { return p.Serve(ctx, s) }, func() { p.Close() })
	if err := tty.Register(p.Path()); err != nil {
		t.Fatal(err)
	}
	port, err := uartreg.Open(p.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	c, err := port.Connect(physic.Frequency(baud)*physic.Hertz, uart.One, uart.NoParity, uart.NoFlow, 8)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, line: c.(*tty.Conn)}
}

func serve(t *testing.T, f func(context.Context) error, end func()) {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		if err := f(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); end(); wg.Wait() })
}

func newSim(t *testing.T, model string) *modsim.Sim {
	t.Helper()
	s, err := modsim.New(modsim.Config{Model: model, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func do(t *testing.T, s *modsim.Sim, commands ...string) {
	t.Helper()
	for _, c := range commands {
		if _, err := s.Command(c); err != nil {
			t.Fatal(err)
		}
	}
}

// send writes a command, in hexadecimal.
func (c *client) send(content string) {
	c.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(content, " ", ""))
	if err != nil {
		c.t.Fatal(err)
	}
	b, err = sensor.AppendPacket(nil, sensor.Packet{Address: sensor.DefaultAddress, PID: sensor.PIDCommand, Content: b})
	if err != nil {
		c.t.Fatal(err)
	}
	c.raw(b)
}

func (c *client) raw(b []byte) {
	c.t.Helper()
	if _, err := c.line.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// packet is the next one, nil where none comes within the time.
func (c *client) packet(wait time.Duration) *sensor.Packet {
	c.t.Helper()
	if err := c.line.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	buf := make([]byte, 512)
	for {
		p, err := c.re.Next()
		if err == nil {
			p.Content = bytes.Clone(p.Content)
			return &p
		}
		if errors.Is(err, sensor.ErrSum) {
			continue
		}
		n, err := c.line.Read(buf)
		c.re.Write(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// ask sends a command and returns the answer in hexadecimal, "" for none.
func (c *client) ask(content string) string {
	c.t.Helper()
	c.send(content)
	p := c.packet(2 * time.Second)
	if p == nil {
		return ""
	}
	if p.PID != sensor.PIDAck {
		c.t.Fatalf("%s is answered with PID %02X", content, byte(p.PID))
	}
	return hex.EncodeToString(p.Content)
}

// data collects the data packets behind an answer, and says how the last was
// marked.
func (c *client) data() (b []byte, sizes []int, last sensor.PID) {
	for {
		p := c.packet(time.Second)
		if p == nil {
			return b, sizes, last
		}
		b, sizes, last = append(b, p.Content...), append(sizes, len(p.Content)), p.PID
		if p.PID == sensor.PIDEndData {
			return b, sizes, last
		}
	}
}

// step of a conversation: a command or a text command, and the answer; "*"
// stands for any ending.
type step struct{ ask, want string }

func talk(t *testing.T, s *modsim.Sim, c *client, steps []step) {
	t.Helper()
	for _, x := range steps {
		if text, ok := strings.CutPrefix(x.ask, "!"); ok {
			do(t, s, text)
			continue
		}
		got := c.ask(x.ask)
		want := strings.ReplaceAll(x.want, " ", "")
		if prefix, ok := strings.CutSuffix(want, "*"); ok && strings.HasPrefix(got, prefix) || got == want {
			continue
		}
		t.Errorf("%s is answered %q, want %q", x.ask, got, x.want)
	}
}

// What all families do, over both kinds of line.
var contract = []step{
	{"13 00000000", "00"},           // VfyPwd
	{"13 00000001", "13"},           // wrong password
	{"13 0000", "01"},               // too short
	{"01", "02"},                    // GenImg: no finger
	{"02 01", "15"},                 // Img2Tz: no image
	{"0A", "0f"},                    // UpImage: none
	{"08 01", "0d"},                 // UpChar: empty buffer
	{"05", "0a"},                    // RegModel: nothing to merge
	{"1D", "00 0000"},               // TempleteNum
	{"!touch a thumb", ""},          //
	{"01", "00"},                    // GenImg
	{"02 09", "0b"},                 // Img2Tz: no such buffer
	{"02 01", "00"},                 //
	{"05", "0a"},                    // one capture is no template
	{"!touch a thumb", ""},          // once more
	{"01", "00"},                    //
	{"02 02", "00"},                 //
	{"05", "00"},                    // RegModel
	{"03", "00*"},                   // Match: the capture is of the template's finger
	{"06 01 0003", "00"},            // Store
	{"06 01 FFFF", "0b"},            //
	{"1D", "00 0001"},               //
	{"1F 00", "00 08*"},             // ReadIndexTable: bit 3
	{"!touch a thumb", ""},          //
	{"01", "00"},                    //
	{"02 01", "00"},                 //
	{"04 01 0000 00A0", "00 0003*"}, // Search
	{"!touch b thumb", ""},          //
	{"01", "00"},                    //
	{"02 01", "00"},                 //
	{"04 01 0000 00A0", "09*"},
	{"07 02 0003", "00"},    // LoadChar
	{"07 02 0004", "0c"},    //
	{"03", "08 0000"},       // Match: b is not a
	{"0C 0003 0001", "00"},  // DeletChar
	{"0C 0003 FFFF", "10"},  //
	{"1D", "00 0000"},       //
	{"0D", "00"},            // Empty
	{"14", "00*"},           // GetRandomCode
	{"18 00 " + page, "00"}, // WriteNotepad
	{"19 00", "00 " + page}, // ReadNotepad
	{"19 10", "1c"},         //
	{"0E 07 01", "1a"},      // SetSysPara: no such register
	{"0E 05 09", "1b"},      // no such level
	{"0E 05 04", "00"},      //
	{"0F", "00 000c*"},      // ReadSysPara: verified
	{"53", "55"},            // GetEcho
}

var page = strings.Repeat("a5", 32)

// What tells the families apart.
var apart = map[string][]step{
	"r503": {
		{"0F", "00 0004 0000 00c8 0003 ffffffff 0002 0006"}, // as a real one was seen to answer
		{"3C", "00 52353033*"},                              // ReadProdInfo: "R503"
		{"40", "00"},
		{"36", "00"},
		{"35 01 FF 02 00", "00"},
		{"39", "00*"},
		{"28", "02"},
		{"1B 01 0000 00C8", "fc"}, // it has no HiSpeedSearch
		{"50", "fc"},
		{"0E 04 03", "1b"}, // 28800 baud is none of its five rates
		{"0E 04 0C", "00"},
		{"0E 04 06", "00"},
		{"!touch a thumb", ""},
		{"01", "00"},
		{"02 01", "00"},
		{"04 01 0000 00C8", "09 01ee 0000"}, // names a slot with its no
		{"02 02", "00"},
		{"03", "08 0000"}, // two captures are not compared, a capture and a template are
		{"05", "00"},
		{"06 01 0000", "00"},
		{"02 01", "00"},
		{"01", "00"},
		{"04 01 0000 00C8", "09*"}, // a capture in between spoils the search
	},
	"r307": {
		{"0F", "00 0004 0009 03e8 0003 ffffffff 0002 0006"},
		{"3C", "19"},
		{"35 01 FF 02 00", "19"},
		{"50", "00"},
		{"51", "00"},
		{"0E 04 03", "00"},
		{"0E 04 0D", "1b"},
		{"0E 04 06", "00"},
		{"!touch a thumb", ""},
		{"01", "00"},
		{"02 01", "00"},
		{"02 02", "00"},
		{"03", "00*"}, // two captures are compared
		{"05", "00"},
		{"06 01 0000", "00"},
		{"02 01", "00"},
		{"01", "00"},
		{"1B 01 0000 03E8", "00 0000*"},
	},
	"as608": {
		{"0F", "00 0004 0009 00a2 0003 ffffffff 0002 0006"},
		{"3C", ""}, // says nothing to what it does not know
		{"50", "00"},
	},
}

func TestContract(t *testing.T) {
	for model := range modsim.Personalities {
		for name, steps := range map[string][]step{"all": contract, "own": apart[model]} {
			t.Run(model+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSim(t, model)
					talk(t, s, pipe(t, s), steps)
				})
			})
		}
	}
	t.Run("terminal", func(t *testing.T) {
		t.Parallel()
		s := newSim(t, "r503")
		talk(t, s, terminal(t, s, 57600), contract)
	})
}

func TestDamagedAndForeignPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		c := pipe(t, s)
		good, _ := hex.DecodeString("EF01FFFFFFFF010003010005") // GenImg
		bad := bytes.Clone(good)
		bad[11]++
		c.raw(bad)
		if p := c.packet(time.Second); p == nil || p.Content[0] != byte(sensor.PacketError) {
			t.Errorf("a wrong sum is answered %+v", p)
		}
		other := bytes.Clone(good)
		other[5] = 0
		c.raw(other)
		if p := c.packet(time.Second); p != nil {
			t.Errorf("another address is answered %+v", p)
		}
		c.raw(good[:7]) // the rest never comes
		if p := c.packet(time.Second); p != nil {
			t.Errorf("half a packet is answered %+v", p)
		}
		c.raw(append([]byte{0x00, 0x55, 0xEF}, good...))
		if p := c.packet(time.Second); p == nil || p.Content[0] != byte(sensor.NoFinger) {
			t.Errorf("behind garbage it is answered %+v", p)
		}
	})
}

func TestPowerUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		c := pipe(t, s)
		do(t, s, "quirk glitch", "unplug")
		if got := c.ask("01"); got != "" {
			t.Errorf("unplugged it answers %s", got)
		}
		start := time.Now()
		do(t, s, "plug")
		b := make([]byte, 2)
		_ = c.line.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(c.line, b); err != nil || b[0] != 0x00 || b[1] != 0x55 {
			t.Errorf("it says % X (%v), want 00 55", b, err)
		}
		if took := time.Since(start); took < 50*time.Millisecond || took > 51*time.Millisecond {
			t.Errorf("start-up takes %v", took)
		}
		c.ask("12 11223344") // SetPwd
		do(t, s, "unplug", "plug")
		_ = c.line.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadFull(c.line, b); err != nil {
			t.Fatal(err)
		}
		talk(t, s, c, []step{{"01", "21"}, {"13 00000000", "13"}, {"13 11223344", "00"}, {"01", "02"}})
	})
}

// A rate holds from the next power-up on; before, and at any other rate, both
// ends hear noise.
func TestRate(t *testing.T) {
	t.Parallel()
	s := newSim(t, "r503")
	c := terminal(t, s, 115200)
	c.send("13 00000000")
	if p := c.packet(100 * time.Millisecond); p != nil {
		t.Errorf("at twice its rate it answers %+v", p)
	}
	s = newSim(t, "r503")
	c = terminal(t, s, 57600)
	talk(t, s, c, []step{{"0E 04 0C", "00"}, {"0F", "00 0004 0000 00c8 0003 ffffffff 0002 000c"}})
	do(t, s, "unplug", "plug")
	c.send("13 00000000")
	if p := c.packet(100 * time.Millisecond); p != nil {
		t.Errorf("after a power-up it still answers at the old rate: %+v", p)
	}
}

func TestQuirks(t *testing.T) {
	enrolled := []step{{"!touch a thumb", ""}, {"01", "00"}, {"02 01", "00"}, {"02 02", "00"}, {"05", "00"}}
	for quirk, check := range map[string]func(*testing.T, *modsim.Sim, *client){
		"spurious01": func(t *testing.T, s *modsim.Sim, c *client) {
			if got := c.ask("03"); got != "01" {
				t.Errorf("first %s", got)
			}
			if p := c.packet(time.Second); p == nil || p.Content[0] != 0 {
				t.Errorf("then %+v", p)
			}
		},
		"shortlast": func(t *testing.T, _ *modsim.Sim, c *client) {
			c.send("08 01")
			c.packet(time.Second)
			if b, sizes, _ := c.data(); len(b) != 1538 || sizes[len(sizes)-1] != 2 {
				t.Errorf("%d bytes in packets of %v", len(b), sizes)
			}
		},
		"noend": func(t *testing.T, _ *modsim.Sim, c *client) {
			c.send("08 01")
			c.packet(time.Second)
			if b, _, last := c.data(); len(b) != 1536 || last != sensor.PIDData {
				t.Errorf("%d bytes, the last packet is %02X", len(b), byte(last))
			}
		},
		"blank": func(t *testing.T, _ *modsim.Sim, c *client) {
			c.send("08 01")
			c.packet(time.Second)
			if b, _, _ := c.data(); !bytes.Equal(b, bytes.Repeat([]byte{0xFF}, 1536)) {
				t.Errorf("% X...", b[:8])
			}
		},
		"badsum 2": func(t *testing.T, _ *modsim.Sim, c *client) {
			c.re.BadSums = 0
			for range 4 {
				c.send("40")
				c.packet(100 * time.Millisecond)
			}
			if c.re.BadSums != 2 {
				t.Errorf("%d of 4 sums are wrong", c.re.BadSums)
			}
		},
		"half 2": func(t *testing.T, _ *modsim.Sim, c *client) {
			whole := 0
			for range 6 {
				c.send("40")
				if c.packet(100*time.Millisecond) != nil {
					whole++
				}
			}
			if whole > 3 {
				t.Errorf("%d of 6 answers are whole", whole)
			}
		},
		"forget 3": func(t *testing.T, _ *modsim.Sim, c *client) {
			forgot := 0
			for range 6 {
				if c.ask("40") == "21" {
					forgot++
				}
			}
			if forgot != 2 {
				t.Errorf("%d of 6 answers are 21", forgot)
			}
		},
		"baudnow": func(t *testing.T, s *modsim.Sim, c *client) {
			talk(t, s, c, []step{{"0E 04 0C", "00"}})
			synctest.Wait() // the answer is out before the rate changes
			if got, _ := s.Command("state"); !strings.Contains(got, " baud 115200 ") {
				t.Error(got)
			}
		},
	} {
		t.Run(quirk, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, "r503")
				c := pipe(t, s)
				talk(t, s, c, enrolled)
				do(t, s, "quirk "+quirk)
				check(t, s, c)
			})
		})
	}
}

// A transfer takes what the wire takes: ten bits a byte, no gaps.
func TestPace(t *testing.T) {
	for model, want := range map[string]int{"r503": 20016, "r307": 40032} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, model)
			c := pipe(t, s)
			talk(t, s, c, []step{{"!touch a thumb", ""}, {"01", "00"}})
			c.ask("0A")
			start := time.Now()
			b, sizes, _ := c.data()
			wire := len(b) + 11*len(sizes)
			if took, least := time.Since(start), time.Duration(wire)*10*time.Second/57600; wire != want || took < least-time.Microsecond || took > least+time.Millisecond {
				t.Errorf("%s: a picture of %d bytes on the wire takes %v, the wire alone %v", model, wire, took, least)
			}
		})
	}
}

// AutoEnroll and AutoIdentify run by themselves, report each step, and end at
// Cancel.
func TestAutomatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		c := pipe(t, s)
		c.send("31 C8 00 00 01 00") // slot of the module's choice, no lifting
		do(t, s, "touch a thumb")
		var steps []byte
		for len(steps) < 15 {
			p := c.packet(11 * time.Second)
			if p == nil || p.Content[0] != 0 || p.Content[2] != 0 {
				t.Fatalf("after %d steps: %+v", len(steps), p)
			}
			steps = append(steps, p.Content[1])
		}
		if want := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; !bytes.Equal(steps, want) {
			t.Errorf("steps % X", steps)
		}
		if got := c.ask("1D"); got != "000001" {
			t.Errorf("it stored: %s", got)
		}
		do(t, s, "touch a thumb")
		c.send("32 03 00 C8 00 01")
		if p := c.packet(time.Second); p == nil || p.Content[0] != 0 || p.Content[1] != 3 || p.Content[5] == 0 {
			t.Errorf("identified: %+v", p)
		}
		do(t, s, "lift")
		c.send("31 C8 00 00 01 01")
		if p := c.packet(5 * time.Second); p != nil {
			t.Errorf("without a finger: %+v", p)
		}
		if got := c.ask("30"); got != "00" {
			t.Errorf("cancelled: %s", got)
		}
		c.send("31 C8 00 00 01 01")
		if p := c.packet(11 * time.Second); p == nil || p.Content[0] != byte(sensor.TimedOut) {
			t.Errorf("nobody came: %+v", p)
		}
		do(t, s, "touch a thumb")
		c.send("31 C8 00 00 00 00") // once more, and no duplicates
		if p := c.packet(11 * time.Second); p == nil || p.Content[0] != byte(sensor.AlreadyEnrolled) {
			t.Errorf("a duplicate: %+v", p)
		}
	})
}

// A picture that the host sends can be made a template, and comes back as it
// was sent.
func TestPictureFromTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, "r503")
		c := pipe(t, s)
		picture := bytes.Repeat([]byte{0x12, 0x34, 0x56}, 192*192/2/3)
		talk(t, s, c, []step{{"0B", "00"}})
		for rest := picture; len(rest) > 0; rest = rest[128:] {
			pid := sensor.PIDData
			if len(rest) == 128 {
				pid = sensor.PIDEndData
			}
			b, _ := sensor.AppendPacket(nil, sensor.Packet{Address: sensor.DefaultAddress, PID: pid, Content: rest[:128]})
			c.raw(b)
		}
		talk(t, s, c, []step{{"02 01", "00"}, {"02 02", "00"}, {"05", "00"}, {"03", "00*"}, {"0A", "00"}})
		if b, _, _ := c.data(); !bytes.Equal(b, picture) {
			t.Errorf("%d bytes came back", len(b))
		}
	})
}

func TestCommandsThatAreWrong(t *testing.T) {
	s := newSim(t, "r503")
	for _, line := range []string{
		"", "jump", "touch", "touch a", "touch a b 2", "touch a b NaN", "garble", "garble -1", "garble x", "swap r999",
		"quirk", "quirk x", "quirk flip -1", "fault", "fault in", "fault up drop 1", "fault in drop x", "fault in drop 1 -1",
		"fault in eat 1", "lie", "lie maybe", "lift x", "plug x",
	} {
		if _, err := s.Command(line); err == nil || !strings.HasPrefix(err.Error(), "modsim: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := modsim.New(modsim.Config{Model: "r999"}); err == nil {
		t.Error("there is a model r999")
	}
}

// Swapping a module shows in its serial number; cutting its power does not.
func TestSerialNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serial := func(s *modsim.Sim, c *client) string {
			do(t, s, "unmute")
			return c.ask("3C")[2*21 : 2*29]
		}
		s := newSim(t, "r503")
		c := pipe(t, s)
		first := serial(s, c)
		again := newSim(t, "r503")
		if got := serial(again, pipe(t, again)); got != first {
			t.Errorf("the same seed gives %s and %s", first, got)
		}
		buf := make([]byte, 1)
		for command, same := range map[string]bool{"plug": true, "swap": false} {
			do(t, s, command)
			_ = c.line.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.ReadFull(c.line, buf); err != nil { // 55
				t.Fatal(err)
			}
			if got := serial(s, c); (got == first) != same {
				t.Errorf("after %s the serial number is %s, was %s", command, got, first)
			}
			first = serial(s, c)
		}
	})
}

// Whatever a host sends, the module answers or not, and goes on.
func FuzzHost(f *testing.F) {
	f.Add([]byte{0x31, 0xC8, 0, 0, 1, 1}, "fault in drop 3 2")
	f.Add([]byte{0x08, 0x01}, "quirk noend")
	f.Add([]byte{0x06, 0x01, 0xFF, 0xFF}, "lie fast")
	f.Fuzz(func(t *testing.T, content []byte, text string) {
		if len(content) == 0 || len(content) > sensor.MaxContent || content[0] == byte(sensor.SetAdder) {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, "r503")
			c := pipe(t, s)
			_, _ = s.Command(text)
			do(t, s, "touch a thumb")
			c.send(hex.EncodeToString(content))
			for c.packet(12*time.Second) != nil {
			}
			do(t, s, "fault clear", "garble 0", "unmute", "plug", "lie honest", "quirk half off", "quirk badsum off", "quirk flip off", "quirk forget off", "quirk baudnow off")
			for c.packet(time.Second) != nil {
			}
			if got := c.ask("0F"); !strings.HasPrefix(got, "00") && got != "21" {
				t.Errorf("after % X and %q it answers %q", content, text, got)
			}
		})
	})
}

// A template of FF alone is rejected, as the manual says; nothing acknowledges the data, so
// that it is Store that finds none. What lay in the buffer before is not stored in its place.
func TestBlankTemplateIsRejected(t *testing.T) {
	for _, model := range []string{"r503", "r307"} {
		s := newSim(t, model)
		c := pipe(t, s)
		c.ask("13 00000000")
		size := modsim.Personalities[model].TemplateSize
		for i, last := range []byte{0x7F, 0xFF, 0x7F} {
			file := bytes.Repeat([]byte{0xFF}, size)
			file[size-1] = last
			if got := c.ask("09 02"); got != "00" {
				t.Fatalf("%s: DownChar is answered %s", model, got)
			}
			for at := 0; at < size; at += 128 {
				pid := sensor.PIDData
				if at+128 >= size {
					pid = sensor.PIDEndData
				}
				b, err := sensor.AppendPacket(nil, sensor.Packet{Address: sensor.DefaultAddress, PID: pid, Content: file[at : at+128]})
				if err != nil {
					t.Fatal(err)
				}
				c.raw(b)
			}
			want := map[byte]string{0x7F: "00", 0xFF: "18"}[last]
			if got := c.ask("06 02 0003"); got != want {
				t.Errorf("%s, template %d: Store is answered %s, not %s", model, i, got, want)
			}
		}
	}
}
