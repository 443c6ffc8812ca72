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
	"testing"
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
