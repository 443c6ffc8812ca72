package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone"
	phoneclient "github.com/faceprint/faceprint/device/phone/client"
	"github.com/faceprint/faceprint/store"
)

// Figures of the paired phones, with the real daemon, its real limits and
// pinned TLS on loopback. The clients share the machine with it.

// crowd is a daemon that knows many phones, and the keys of those.
type crowd struct {
	*daemon
	pin    phoneclient.Pin
	addr   string
	phones []*ecdsa.PrivateKey
	rights [][]string // of the first ones; all where there are none
}

// phonesEach is what one person may have.
const phonesEach = 16

// newCrowd puts phones into a vault and starts the daemon on it.
func newCrowd(b testing.TB, phones int, config string, rights ...[]string) *crowd {
	b.Helper()
	dir, err := os.MkdirTemp("", "fp") // short enough for a socket's path
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	c := &crowd{daemon: &daemon{dir: dir}, rights: rights}
	user, err := c.seed(phones)
	if err != nil {
		b.Fatal(err)
	}
	config = "[bench]\nenabled = true\n[phone]\nconnections = 20000\n" + config
	if err := os.WriteFile(c.path("f.toml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	c.start(b)
	b.Cleanup(func() { c.stop(b) })
	if _, err := c.client.Ready(b.Context(), 20*time.Second); err != nil {
		b.Fatal(err)
	}
	invited, err := c.client.Invite(b.Context(), client.Invite{User: user})
	if err != nil {
		b.Fatal(err)
	}
	inv, err := phoneclient.ParseInvitation(invited.Text)
	if err != nil {
		b.Fatal(err)
	}
	c.pin, c.addr = inv.Pin, inv.Addr
	return c
}

func (c *crowd) seed(phones int) (user string, err error) {
	v, err := openStore(storeConfig{File: c.path("faceprint.db"), KeyFile: c.path("device.key")}, false)
	if err != nil {
		return "", err
	}
	defer v.Close()
	now := time.Now().UTC()
	return user, v.Update(func(tx *store.Tx) error {
		var id store.UserID
		for n := range phones + 1 {
			if n%phonesEach == 0 {
				id = store.NewUserID()
				p := store.Person{ID: id, Name: fmt.Sprint("Person ", n), Created: now, Consent: store.Consent{At: now, TextVersion: "1"}}
				if err := tx.AddPerson(p); err != nil {
					return err
				}
				user = string(id)
			}
			if n == phones {
				return nil // the last person has room for an invitation
			}
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return err
			}
			public, err := phoneclient.PublicKey(key)
			if err != nil {
				return err
			}
			c.phones = append(c.phones, key)
			r := phone.Record{
				User: string(id), Key: public.String(), Kind: phoneclient.App, Name: fmt.Sprint("Phone ", n), Paired: now, By: "admin", Rights: phone.Rights,
			}
			if n < len(c.rights) {
				r.Rights = c.rights[n]
			}
			if err := phoneRecords.Put(tx, id, public.ID(), r); err != nil {
				return err
			}
			if err := phoneCounters.Put(tx, id, public.ID(), phone.Counter{ID: public.ID(), User: string(id), Seen: now}); err != nil {
				return err
			}
		}
		return nil
	})
}

// wire is one phone's connection with requests that are already signed, so
// that the clients' own work is small.
type wire struct {
	*tls.Conn
	r        *bufio.Reader
	requests [][]byte
}

// dial connects phone n from an address of its own house of 32 phones.
func (c *crowd) dial(n int) (*tls.Conn, phoneclient.Binding, error) { return c.dialFrom(n / 32) }

// dialFrom connects from one of many addresses, each with its own limits.
func (c *crowd) dialFrom(house int) (*tls.Conn, phoneclient.Binding, error) {
	d := tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+house/200), byte(1+house%200))}},
		Config:    phoneclient.TLS(c.pin),
	}
	conn, err := d.Dial("tcp", c.addr)
	if err != nil {
		return nil, phoneclient.Binding{}, err
	}
	t := conn.(*tls.Conn)
	state := t.ConnectionState()
	binding, err := phoneclient.Bind(&state)
	return t, binding, err
}

func (c *crowd) line(n, requests int, target string) (*wire, error) {
	conn, binding, err := c.dial(n)
	if err != nil {
		return nil, err
	}
	l := &wire{Conn: conn, r: bufio.NewReader(conn)}
	for i := range requests {
		s, err := phoneclient.Sign(c.phones[n], phoneclient.Request{Method: "GET", Target: target, Counter: uint64(i + 1), Binding: binding})
		if err != nil {
			return nil, err
		}
		l.requests = append(l.requests, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", target, s))
	}
	return l, nil
}

// ask sends the next request and reads the whole answer.
func (l *wire) ask() (int, error) {
	request := l.requests[0]
	l.requests = l.requests[1:]
	if _, err := l.Write(request); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(l.r, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// BenchmarkPhoneRequests asks 5,000 signed requests a second, from 512 phones
// at their own pace, while a person is authenticated again and again, and
// compares that with authentications alone.
//
//	go test -run '^$' -bench PhoneRequests -benchtime 1x ./cmd/faceprintd
func BenchmarkPhoneRequests(b *testing.B) {
	const phones, perSecond, seconds, rounds = 512, 5000, 10, 12
	models, clips, ok := real()
	if !ok {
		b.Skip("needs cgo, FACEPRINT_MODELS and FACEPRINT_CLIPS ('make fetch' and 'make bench' give them)")
	}
	c := newCrowd(b, phones, fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n", filepath.Join(clips, clipAlice), models))
	alice := c.enrolAlice(b)
	for b.Loop() {
		alone := c.authenticate(b, alice, rounds, nil)

		lines := make([]*wire, phones)
		for n := range lines {
			var err error
			if lines[n], err = c.line(n, perSecond*seconds/phones+1, "/v1/me"); err != nil {
				b.Fatal(err)
			}
		}
		var latencies [phones][]time.Duration
		var failed atomic.Int64
		var load sync.WaitGroup
		began := time.Now()
		used := c.cpu(b)
		for n, l := range lines {
			load.Go(func() {
				defer l.Close()
				every := time.Second * phones / perSecond
				next := began.Add(every * time.Duration(n) / phones)
				for len(l.requests) > 0 {
					time.Sleep(time.Until(next)) // the pace of the load, not a wait for something
					status, err := l.ask()
					if err != nil || status != http.StatusOK {
						failed.Add(1)
						return
					}
					latencies[n] = append(latencies[n], time.Since(next))
					next = next.Add(every)
				}
			})
		}
		done := make(chan struct{})
		go func() { load.Wait(); close(done) }()
		loaded := c.authenticate(b, alice, 1000, done)
		<-done
		took := time.Since(began)
		cores := (c.cpu(b) - used).Seconds() / took.Seconds()
		all := slices.Concat(latencies[:]...)
		slices.Sort(all)
		if failed.Load() > 0 || len(all) == 0 {
			b.Fatalf("%d phones failed, %d answers\n%s", failed.Load(), len(all), c.log)
		}
		b.ReportMetric(float64(len(all))/took.Seconds(), "req/s")
		b.ReportMetric(all[len(all)/2].Seconds()*1e3, "p50-ms")
		b.ReportMetric(all[len(all)*99/100].Seconds()*1e3, "p99-ms")
		b.ReportMetric(median(alone).Seconds()*1e3, "auth-alone-ms")
		b.ReportMetric(median(loaded).Seconds()*1e3, "auth-loaded-ms")
		b.ReportMetric(median(loaded).Seconds()/median(alone).Seconds(), "auth-ratio")
		b.ReportMetric(cores, "cores")
	}
}

func median(ds []time.Duration) time.Duration {
	ds = slices.Sorted(slices.Values(ds))
	return ds[len(ds)/2]
}

func (c *crowd) enrolAlice(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(filepath.Join(bin, "faceprint"), "sim", "touch", "alice", aliceFinger)
	cmd.Env = append(os.Environ(), client.SocketVariable+"="+c.path("api.sock"))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	made, err := c.client.Enroll(b.Context(), client.Enrolment{
		Name: "Alice", Factors: []string{"face", "finger"}, Finger: aliceFinger,
		Consent: client.Consent{Given: true, TextVersion: "bench", Language: "en"},
	})
	if err != nil {
		b.Fatal(err)
	}
	return made.User
}

// authenticate does so at most n times, or until done, and returns how long
// each took by the daemon's own clock.
func (c *crowd) authenticate(b *testing.B, user string, n int, done <-chan struct{}) []time.Duration {
	b.Helper()
	var took []time.Duration
	for range n {
		select {
		case <-done:
			return took
		default:
		}
		d, err := c.client.Authenticate(b.Context(), client.Attempt{User: user})
		if err != nil || d.Outcome != client.Granted {
			b.Fatalf("%+v, %v", d, err)
		}
		took = append(took, time.Duration(d.TookMs*float64(time.Millisecond)))
	}
	return took
}

// BenchmarkPhoneStreams lets 10,000 phones wait for events and tells what they
// cost.
//
//	go test -run '^$' -bench PhoneStreams -benchtime 1x ./cmd/faceprintd
func BenchmarkPhoneStreams(b *testing.B) {
	const phones = 9500 // the test's own files must have room beside them
	c := newCrowd(b, phones, "[camera]\nsource = \"/dev/video255\"\n")
	for b.Loop() {
		before := c.resident(b)
		lines := make([]*wire, phones)
		var wg sync.WaitGroup
		var failed atomic.Pointer[error]
		next := make(chan int)
		for range 8 {
			wg.Go(func() {
				for n := range next {
					l, err := c.line(n, 1, "/v1/events")
					if err == nil {
						_, err = l.Write(l.requests[0])
					}
					if err == nil {
						var resp *http.Response
						if resp, err = http.ReadResponse(l.r, nil); err == nil && resp.StatusCode != http.StatusOK {
							err = fmt.Errorf("%s", resp.Status)
						}
					}
					if err != nil {
						failed.Store(&err)
						continue
					}
					lines[n] = l
				}
			})
		}
		for n := range phones {
			next <- n
		}
		close(next)
		wg.Wait()
		if err := failed.Load(); err != nil {
			b.Fatal(*err)
		}
		after := c.resident(b)
		b.ReportMetric(after-before, "MiB")
		b.ReportMetric((after-before)*1024/phones, "KiB/phone")
		for _, l := range lines {
			l.Close()
		}
	}
}

// BenchmarkPhoneFlood lets strangers ask without a signature as fast as they
// can and tells what that costs the daemon, TLS and all.
//
//	go test -run '^$' -bench PhoneFlood -benchtime 1x ./cmd/faceprintd
func BenchmarkPhoneFlood(b *testing.B) {
	const strangers, seconds = 4, 10
	c := newCrowd(b, 1, "[camera]\nsource = \"/dev/video255\"\n")
	request := []byte("GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n")
	for b.Loop() {
		idle := c.cpu(b)
		time.Sleep(seconds * time.Second)
		idle = c.cpu(b) - idle
		used, began := c.cpu(b), time.Now()
		var wg sync.WaitGroup
		var tries, answers atomic.Int64
		for n := range strangers {
			wg.Go(func() {
				for time.Since(began) < seconds*time.Second {
					tries.Add(1)
					conn, _, err := c.dial(32 * n)
					if err != nil {
						continue
					}
					r := bufio.NewReader(conn)
					for {
						if _, err = conn.Write(request); err != nil {
							break
						}
						resp, err := http.ReadResponse(r, nil)
						if err != nil {
							break
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						answers.Add(1)
					}
					conn.Close()
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(tries.Load())/seconds, "tries/s")
		b.ReportMetric(float64(answers.Load())/seconds, "answers/s")
		b.ReportMetric((c.cpu(b)-used-idle).Seconds()/time.Since(began).Seconds(), "cores")
	}
}
