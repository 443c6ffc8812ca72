package phone

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
)

// The flood's victims are processes of their own, this program once more, so
// that the processor time is theirs alone.
const floodedAs = "FACEPRINT_FLOODED_AS"

func TestMain(m *testing.M) {
	if as := os.Getenv(floodedAs); as != "" {
		if err := flooded(as); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// flooded serves until its standard input ends: "tls" shakes hands, reads what
// comes and says a fixed no; "phones" is the whole thing. Both let in whom the
// limits let in; after a comma, "all" has none.
func flooded(as string) error {
	as, open := strings.CutSuffix(as, ",all")
	var limits Limits
	if open {
		limits = many
	}
	p, err := Open(newMemory("alice"), &authenticator{events: make(chan wire.Event)}, Options{Limits: limits, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	fmt.Println(tcp.Addr())
	if as == "phones" {
		return p.Serve(ctx, tcp)
	}
	defer context.AfterFunc(ctx, func() { tcp.Close() })()
	l := newListener(tcp, p.opts.Limits, time.Now, p.refusals.add)
	config := &tls.Config{Certificates: []tls.Certificate{p.cert}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			t := tls.Server(c, config)
			defer t.Close()
			if _, err := t.Read(make([]byte, 4096)); err == nil {
				_, _ = t.Write(refusalOf(http.StatusUnauthorized))
			}
		}()
	}
}

// BenchmarkFlood lets strangers from four addresses ask without a signature,
// 500 times a second, and tells what share of a core that costs: of a bare TLS
// server, of this package, and the difference. First with the limits that every
// device has, and then without, so that every try gets as far as an answer.
func BenchmarkFlood(b *testing.B) {
	for _, limits := range []string{"limits", "all"} {
		b.Run(limits, func(b *testing.B) {
			for b.Loop() {
				bare := flood(b, "tls", limits)
				whole := flood(b, "phones", limits)
				b.ReportMetric(bare.cores, "tls-cores")
				b.ReportMetric(whole.cores, "phones-cores")
				b.ReportMetric(whole.cores-bare.cores, "beyond-tls-cores")
				b.ReportMetric(whole.tries, "tries/s")
				b.ReportMetric(whole.answers, "answers/s")
			}
		})
	}
}

type flooding struct{ cores, tries, answers float64 }

func flood(b *testing.B, as, limits string) flooding {
	b.Helper()
	const strangers, perSecond, seconds = 4, 500, 6
	if limits == "all" {
		as += ",all"
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), floodedAs+"="+as), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	addr = strings.TrimSpace(addr)

	request := raw("GET", "/v1/me", "", "")
	var tries, answers atomic.Int64
	var all sync.WaitGroup
	began, used := time.Now(), cpuOf(b, cmd.Process.Pid)
	for n := range strangers {
		d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n+1))}}, Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}
		all.Go(func() {
			every := time.Second * strangers / perSecond
			for next := began; time.Since(began) < seconds*time.Second; next = next.Add(every) {
				time.Sleep(time.Until(next)) // the pace of the flood
				tries.Add(1)
				c, err := d.Dial("tcp", addr)
				if err != nil {
					continue
				}
				if _, err := c.Write(request); err == nil {
					if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode == http.StatusUnauthorized {
						answers.Add(1)
					}
				}
				c.Close()
			}
		})
	}
	all.Wait()
	took := time.Since(began).Seconds()
	f := flooding{(cpuOf(b, cmd.Process.Pid) - used).Seconds() / took, float64(tries.Load()) / took, float64(answers.Load()) / took}
	in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return f
}

// cpuOf is the processor time that a process has used (schedstat of Linux, in
// nanoseconds, summed over its threads: ticks of 10 ms are too coarse here).
func cpuOf(b *testing.B, pid int) (sum time.Duration) {
	b.Helper()
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range threads {
		text, err := os.ReadFile(dir + "/" + t.Name() + "/schedstat")
		if err != nil {
			continue // the thread ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
