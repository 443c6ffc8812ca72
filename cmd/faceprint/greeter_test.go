package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
)

// greetd answers as it is told and keeps what it was asked.
func greetd(t *testing.T, answers ...string) (io.ReadWriter, func() []greetdRequest) {
	t.Helper()
	near, far := net.Pipe()
	var asked []greetdRequest
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		for _, a := range answers {
			var head [4]byte
			if _, err := io.ReadFull(far, head[:]); err != nil {
				return
			}
			b := make([]byte, binary.NativeEndian.Uint32(head[:]))
			var r greetdRequest
			if _, err := io.ReadFull(far, b); err != nil || json.Unmarshal(b, &r) != nil {
				return
			}
			asked = append(asked, r)
			if _, err := far.Write(append(binary.NativeEndian.AppendUint32(nil, uint32(len(a))), a...)); err != nil {
				return
			}
		}
	}()
	return near, func() []greetdRequest { near.Close(); <-done; return asked }
}

func TestGreeterAsksWhatPAMAsks(t *testing.T) {
	conn, asked := greetd(t,
		`{"type":"auth_message","auth_message_type":"info","auth_message":"Look\u001b[2J"}`,
		`{"type":"auth_message","auth_message_type":"secret","auth_message":"Password: "}`,
		`{"type":"error","error_type":"auth_error","description":"pam"}`, `{"type":"success"}`,
		`{"type":"success"}`, `{"type":"success"}`)
	var out bytes.Buffer
	in := strings.NewReader("alice\nsecret\nbob\n")
	g := greeting{greetd: conn, terminal: in, lines: bufio.NewReader(in), out: &out, session: "sh"}
	if started, err := g.once(); started || err != nil {
		t.Fatalf("a refusal: %v, %v", started, err)
	}
	if started, err := g.once(); !started || err != nil {
		t.Fatalf("a grant: %v, %v", started, err)
	}
	secret := "secret"
	want := []greetdRequest{
		{Type: "create_session", Username: "alice"},
		{Type: "post_auth_message_response"},
		{Type: "post_auth_message_response", Response: &secret},
		{Type: "cancel_session"},
		{Type: "create_session", Username: "bob"},
		{Type: "start_session", Cmd: []string{"sh"}},
	}
	if got := asked(); !reflect.DeepEqual(got, want) {
		t.Errorf("asked %+v", got)
	}
	if text := out.String(); strings.Contains(text, "\x1b") || !strings.Contains(text, "Look?[2J") || !strings.Contains(text, "Not logged in.") {
		t.Errorf("%q", text)
	}
}

// While the device looks, people type their password although nobody asked yet,
// and again since nothing seems to happen. The terminal shows none of it; the
// first is the password, the second nothing, least of all the next account.
func TestGreeterShowsNoPasswordThatIsTypedTooSoon(t *testing.T) {
	keyboard, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	defer terminal.Close()
	near, far := net.Pipe()
	var shown bytes.Buffer
	seen := make(chan struct{}, 100)
	var mu sync.Mutex
	go func() { // ends with the keyboard
		b := make([]byte, 512)
		for {
			n, err := keyboard.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			shown.Write(b[:n])
			mu.Unlock()
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	}()
	says := func(text string) string {
		for {
			mu.Lock()
			s := shown.String()
			mu.Unlock()
			if strings.Contains(s, text) {
				return s
			}
			<-seen
		}
	}
	typed := func(text string) {
		if _, err := io.WriteString(keyboard, text); err != nil {
			t.Error(err)
		}
	}
	reply := func(answer string) {
		if _, err := far.Write(append(binary.NativeEndian.AppendUint32(nil, uint32(len(answer))), answer...)); err != nil {
			t.Fatal(err)
		}
	}
	exchange := func(answer string) (r greetdRequest) {
		var head [4]byte
		if _, err := io.ReadFull(far, head[:]); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, binary.NativeEndian.Uint32(head[:]))
		if _, err := io.ReadFull(far, b); err != nil || json.Unmarshal(b, &r) != nil {
			t.Fatal(err)
		}
		if answer != "" {
			reply(answer)
		}
		return r
	}
	done := make(chan error, 1)
	go func() {
		g := greeting{greetd: near, terminal: terminal, lines: bufio.NewReader(terminal), out: terminal, session: "sh"}
		_, err := g.once()
		if err == nil {
			_, err = g.once()
		}
		done <- err
	}()
	says("Account: ")
	typed("alice\n")
	if r := exchange(""); r.Username != "alice" { // and PAM looks, for as long as it likes
		t.Fatalf("%+v", r)
	}
	typed("hunter2\nhunter2\n")
	reply(`{"type":"auth_message","auth_message_type":"secret","auth_message":"Password: "}`)
	if r := exchange(`{"type":"error","error_type":"auth_error","description":"no"}`); r.Response == nil || *r.Response != "hunter2" {
		t.Fatalf("%+v", r)
	}
	exchange(`{"type":"success"}`) // the session is cancelled
	says("Not logged in.\r\nAccount: ")
	typed("bob\n")
	if r := exchange(`{"type":"success"}`); r.Username != "bob" {
		t.Errorf("the next account is %q", r.Username)
	}
	exchange(`{"type":"success"}`)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if text := says("bob"); strings.Contains(text, "hunter2") {
		t.Errorf("the terminal shows the password: %q", text)
	}
	near.Close()
}

// Whatever greetd answers, only its success starts a session.
func FuzzGreetd(f *testing.F) {
	f.Add([]byte("\x12\x00\x00\x00{\"type\":\"success\"}\x12\x00\x00\x00{\"type\":\"success\"}"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x02\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := strings.NewReader("alice\nx\ny\n")
		g := greeting{greetd: struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}, terminal: in, lines: bufio.NewReader(in), out: io.Discard, session: "sh"}
		if started, err := g.once(); started && (err != nil || bytes.Count(b, []byte("success")) < 2 && !bytes.Contains(b, []byte(`\u`))) {
			t.Errorf("started on %q, %v", b, err)
		}
	})
}
