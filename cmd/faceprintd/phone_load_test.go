package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	phoneclient "github.com/faceprint/faceprint/device/phone/client"
)

// The phones of a load are a process of their own, this program started anew:
// neither the benchmark's garbage nor its other work is in what they measure,
// and what they cost can be told from what the daemon does. Everything that can
// be done before is: connections, exporters, counters and signatures.

// loadVariable makes this program the phones of a load.
const loadVariable = "FACEPRINT_TEST_PHONES"

// loadJob is what they are to do, on their standard input. They say "ready" once
// all is signed, begin at the next line that they are told, and end with a
// loadResult.
type loadJob struct {
	Addr      string
	Pin       phoneclient.Pin
	Keys      [][]byte // private, one a phone
	After     uint64   // the counter that no phone has used a higher one than
	Each      int      // requests of each
	PerSecond int      // of all
	Target    string
}

// loadResult is what came of it.
type loadResult struct {
	Latencies []time.Duration // of those answered with 200, from the moment at which each was due
	Slowed    int             // refused for asking too fast, after falling behind
	Took      time.Duration   // until the last answer, from the moment at which the first request was due
	CPU       time.Duration   // of this process, meanwhile
	Failed    string
}

// signedLine is one phone's connection with requests that are already signed.
type signedLine struct {
	conn     io.ReadWriter
	r        *bufio.Reader
	requests [][]byte
}

// line connects phone n and signs requests with the counters above after.
func (c *crowd) line(n int, after uint64, requests int, target string) (*signedLine, *tls.Conn, error) {
	conn, binding, err := c.dial(n)
	if err != nil {
		return nil, nil, err
	}
	l := &signedLine{conn: conn, r: bufio.NewReader(conn)}
	for i := range uint64(requests) {
		s, err := phoneclient.Sign(c.phones[n], phoneclient.Request{Method: "GET", Target: target, Counter: after + i + 1, Binding: binding})
		if err != nil {
			conn.Close()
			return nil, nil, err
		}
		l.requests = append(l.requests, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", target, s))
	}
	return l, conn, nil
}

// ask sends the next request and reads the whole answer, of which it looks at no
// more than where it ends.
func (l *signedLine) ask() (status int, err error) {
	request := l.requests[0]
	l.requests = l.requests[1:]
	if _, err := l.conn.Write(request); err != nil {
		return 0, err
	}
	length := -1
	for first := true; ; first = false {
		s, err := l.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		switch key, value, _ := bytes.Cut(s, []byte(":")); {
		case first:
			if len(s) < len("HTTP/1.1 200") || string(s[:9]) != "HTTP/1.1 " {
				return 0, fmt.Errorf("no answer: %q", s)
			}
			if status, err = strconv.Atoi(string(s[9:12])); err != nil {
				return 0, err
			}
		case string(key) == "Content-Length":
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		case len(s) == len("\r\n"):
			if length < 0 {
				return 0, fmt.Errorf("an answer with status %d and no length", status)
			}
			_, err = l.r.Discard(length)
			return status, err
		}
	}
}

// bePhones is the whole of the phones' process.
func bePhones(in io.Reader, out io.Writer) int {
	lines := bufio.NewReader(in)
	r := askAll(lines, out)
	if err := json.NewEncoder(out).Encode(r); err != nil || r.Failed != "" {
		return 1
	}
	return 0
}

func askAll(in *bufio.Reader, out io.Writer) (r loadResult) {
	fail := func(err error) loadResult { return loadResult{Failed: err.Error()} }
	text, err := in.ReadBytes('\n')
	var job loadJob
	if err == nil {
		err = json.Unmarshal(text, &job)
	}
	if err != nil {
		return fail(err)
	}
	c := &crowd{pin: job.Pin, addr: job.Addr}
	lines := make([]*signedLine, len(job.Keys))
	for n, b := range job.Keys {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b)
		if err != nil {
			return fail(err)
		}
		c.phones = append(c.phones, key)
		l, conn, err := c.line(n, job.After, job.Each+1, job.Target)
		if err != nil {
			return fail(err)
		}
		defer conn.Close()
		lines[n] = l
		if status, err := l.ask(); err != nil || status != http.StatusOK { // from now on the connection may wait
			return fail(fmt.Errorf("phone %d: status %d, %v", n, status, err))
		}
	}
	fmt.Fprintln(out, "ready")
	if _, err := in.ReadString('\n'); err != nil {
		return fail(err)
	}
	// Each asks at its own moments, whatever became of the one before: a
	// request that is late because the last answer was late counts from when it
	// was due.
	every := time.Second * time.Duration(len(lines)) / time.Duration(job.PerSecond)
	took := make([][]time.Duration, len(lines))
	var mu sync.Mutex
	var asking sync.WaitGroup
	began, used := time.Now(), ownCPU()
	for n, l := range lines {
		took[n] = make([]time.Duration, 0, job.Each)
		asking.Go(func() {
			due := began.Add(every * time.Duration(n) / time.Duration(len(lines)))
			for ; len(l.requests) > 0; due = due.Add(every) {
				time.Sleep(time.Until(due)) // the pace of the load, not a wait for something
				status, err := l.ask()
				if status == http.StatusOK && err == nil {
					took[n] = append(took[n], time.Since(due))
					continue
				}
				mu.Lock()
				if status == http.StatusTooManyRequests && err == nil {
					r.Slowed++
				} else if r.Failed == "" {
					r.Failed = fmt.Sprintf("phone %d after %d answers: status %d, %v", n, len(took[n]), status, err)
				}
				failed := r.Failed != ""
				mu.Unlock()
				if failed {
					return
				}
			}
		})
	}
	asking.Wait()
	r.Took, r.CPU = time.Since(began), ownCPU()-used
	for _, t := range took {
		r.Latencies = append(r.Latencies, t...)
	}
	return r
}

// phones is the process, ready to begin.
type phones struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// gather starts the phones of a load and waits until all their requests are
// signed.
func (c *crowd) gather(b *testing.B, count, perSecond, seconds int) *phones {
	b.Helper()
	job := loadJob{Addr: c.addr, Pin: c.pin, After: c.counter, Each: perSecond * seconds / count, PerSecond: perSecond, Target: "/v1/me"}
	c.counter += uint64(job.Each) + 1
	for _, key := range c.phones[:count] {
		raw, err := key.Bytes()
		if err != nil {
			b.Fatal(err)
		}
		job.Keys = append(job.Keys, raw)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	p := &phones{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), loadVariable+"=1", "GOMAXPROCS=1") // half a core is enough, and no second thread looks for work
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if err := json.NewEncoder(p.in).Encode(job); err != nil {
		b.Fatal(err)
	}
	if said, err := p.out.ReadString('\n'); err != nil || strings.TrimSpace(said) != "ready" {
		rest, _ := io.ReadAll(p.out)
		b.Fatalf("the phones did not get ready: %v\n%s%s", err, said, rest)
	}
	return p
}

// run lets them ask and returns what came of it.
func (p *phones) run() (r loadResult, err error) {
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		return r, err
	}
	err = json.NewDecoder(p.out).Decode(&r)
	if e := p.cmd.Wait(); e != nil && r.Failed == "" {
		r.Failed = e.Error()
	}
	if r.Failed != "" {
		err = fmt.Errorf("%d answers, then %s", len(r.Latencies), r.Failed)
	}
	return r, err
}
