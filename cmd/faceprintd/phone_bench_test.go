package main

import (
	"context"
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
	"syscall"
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

	counter uint64 // that no phone has used a higher one than
}

// phonesEach is what one person may have.
const phonesEach = 16

// newCrowd puts phones into a vault and starts the daemon on it.
func newCrowd(b testing.TB, phones int, config string, rights ...[]string) *crowd {
	b.Helper()
	return gather(b, &crowd{rights: rights}, phones, config)
}

// gather does so for a crowd that has some phones, or all, already.
func gather(b testing.TB, c *crowd, phones int, config string) *crowd {
	b.Helper()
	dir, err := os.MkdirTemp("", "fp") // short enough for a socket's path
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	c.daemon = &daemon{dir: dir}
	user, err := c.seed(phones)
	if err != nil {
		b.Fatal(err)
	}
	config = "[bench]\nenabled = true\n" + config
	if err := os.WriteFile(c.path("f.toml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	c.start(b)
	b.Cleanup(func() { c.stop(b) })
	c.ready(b, "phones")
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
	v, err := openStore(context.Background(), storeConfig{File: c.path("faceprint.db"), KeyFile: c.path("device.key")}, false)
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
			if n == len(c.phones) {
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					return err
				}
				c.phones = append(c.phones, key)
			}
			public, err := phoneclient.PublicKey(c.phones[n])
			if err != nil {
				return err
			}
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

// BenchmarkPhoneRequests asks 5,000 signed requests a second, from 512 phones
// at their own pace: alone, and while a person is authenticated again and again,
// which it compares with authentications alone; and beside those half as many.
// What is measured is the device with TLS over loopback: requests are signed
// before, and the phones are a process of their own (phone_load_test.go). A
// latency counts from the moment at which its request was due.
//
// The processor time of a request is the daemon's, without what it uses when
// nobody asks; that of the phones is apart. others-cores is what the rest of the
// machine used meanwhile: where that is not near 0, the times of the clock say
// more about it than about the daemon. It takes about two minutes.
//
//	go test -run '^$' -bench PhoneRequests -benchtime 1x ./cmd/faceprintd
func BenchmarkPhoneRequests(b *testing.B) {
	const phones, perSecond, seconds, rounds = 512, 5000, 8, 12
	models, clips, ok := real()
	if !ok {
		b.Skip("needs cgo, FACEPRINT_MODELS and FACEPRINT_CLIPS ('make fetch' and 'make bench' give them)")
	}
	config := fmt.Sprintf("[camera]\nsource = %q\n[face]\nmodels = %q\n", filepath.Join(clips, clipAlice), models)
	if ort := os.Getenv("FACEPRINT_ORT"); ort != "" {
		config += fmt.Sprintf("library = %q\n", ort) // the engine that 'make install' brings; OpenCV's takes both cores
	} else {
		b.Log("FACEPRINT_ORT is not set: OpenCV's engine recognises, on both cores")
	}
	c := newCrowd(b, phones, config)
	c.ready(b, "camera", "faces", "finger", "phones")
	alice := c.enrolAlice(b)
	for b.Loop() {
		idle := c.idle(b)
		began, used := time.Now(), c.cpu(b)
		alone, err := c.authenticate(b.Context(), alice, rounds, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((c.cpu(b)-used).Seconds()/time.Since(began).Seconds(), "auth-alone-cores")
		b.ReportMetric(median(alone).Seconds()*1e3, "auth-alone-ms")

		only := c.load(b, phones, perSecond, seconds, nil)
		b.ReportMetric((only.cores-idle)*1e6/only.rate, "cpu-us/req")
		b.ReportMetric(only.phones*1e6/only.rate, "phones-us/req")
		only.report(b, "")
		for _, rate := range []int{perSecond, perSecond / 2} {
			var loaded []time.Duration
			name := fmt.Sprintf("auth-%d-", rate)
			c.load(b, phones, rate, seconds, func(done <-chan struct{}) { loaded, err = c.authenticate(b.Context(), alice, 1000, done) }).report(b, name)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(median(loaded).Seconds()/median(alone).Seconds(), name+"ratio")
		}
	}
}

// load is what came of many phones' asking.
type load struct {
	rate     float64 // answers a second
	p50, p99 time.Duration
	slowed   int     // refused for asking too fast, after falling behind
	cores    float64 // that the daemon used
	phones   float64 // that the phones used
	others   float64 // that neither those nor this process used
}

func (l load) report(b *testing.B, name string) {
	b.ReportMetric(l.rate, name+"req/s")
	b.ReportMetric(l.cores, name+"cores")
	b.ReportMetric(l.p50.Seconds()*1e3, name+"p50-ms")
	b.ReportMetric(l.p99.Seconds()*1e3, name+"p99-ms")
	b.ReportMetric(float64(l.slowed), name+"429s")
	b.ReportMetric(l.others, name+"others-cores")
}

// idle is the share of a core that the daemon uses when nobody asks.
func (c *crowd) idle(b *testing.B) float64 {
	const measured = 3 * time.Second
	used, began := c.cpu(b), time.Now()
	time.Sleep(measured)
	return (c.cpu(b) - used).Seconds() / time.Since(began).Seconds()
}

// load lets phones ask at their own pace, each over a connection of its own, and
// runs beside, if there is something, until they are done.
func (c *crowd) load(b *testing.B, phones, perSecond, seconds int, beside func(done <-chan struct{})) load {
	b.Helper()
	p := c.gather(b, phones, perSecond, seconds)
	done := make(chan struct{})
	var running sync.WaitGroup
	began, used, busy, own := time.Now(), c.cpu(b), machineBusy(b), ownCPU()
	if beside != nil {
		running.Go(func() { beside(done) })
	}
	r, err := p.run()
	took := time.Since(began).Seconds()
	used, busy, own = c.cpu(b)-used, machineBusy(b)-busy, ownCPU()-own
	close(done) // what runs beside may end later: that time is not the phones'
	running.Wait()
	if err != nil {
		b.Fatalf("%v\n%s", err, c.log)
	}
	all := r.Latencies
	if len(all) == 0 {
		b.Fatalf("no answers, %d were slowed", r.Slowed)
	}
	slices.Sort(all)
	l := load{
		rate: float64(len(all)) / r.Took.Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100], slowed: r.Slowed,
		cores: used.Seconds() / took, phones: r.CPU.Seconds() / took,
	}
	l.others = (busy-own).Seconds()/took - l.cores - l.phones
	return l
}

// machineBusy is the processor time that this machine has used for anything.
func machineBusy(b testing.TB) time.Duration {
	b.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	var user, nice, system, idle, wait, irq, soft int64 // proc(5)
	if _, err := fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &soft); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+nice+system+irq+soft) * time.Second / 100 // USER_HZ is 100 on Linux
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail for this process
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
func (c *crowd) authenticate(ctx context.Context, user string, n int, done <-chan struct{}) (took []time.Duration, err error) {
	for range n {
		select {
		case <-done:
			return took, nil
		default:
		}
		d, err := c.client.Authenticate(ctx, client.Attempt{User: user})
		if err != nil || d.Outcome != client.Granted {
			return took, fmt.Errorf("an authentication: %+v, %v", d, err)
		}
		took = append(took, time.Duration(d.TookMs*float64(time.Millisecond)))
	}
	return took, nil
}

// BenchmarkPhoneStreams lets phones wait for events and tells what they cost: as
// many as the device takes as it is shipped, less those for others, and 10,000
// where its configuration allows them.
//
//	go test -run '^$' -bench PhoneStreams -benchtime 1x ./cmd/faceprintd
func BenchmarkPhoneStreams(b *testing.B) {
	b.Run("shipped", func(b *testing.B) { idlePhones(b, 1000, "") })
	b.Run("connections=20000", func(b *testing.B) { idlePhones(b, 10000, "[phone]\nconnections = 20000\n") })
}

func idlePhones(b *testing.B, phones int, config string) {
	c := newCrowd(b, phones, "[camera]\nsource = \"/dev/video255\"\n"+config)
	for b.Loop() {
		before := c.resident(b)
		conns := make([]io.Closer, phones)
		var wg sync.WaitGroup
		var failed atomic.Pointer[error]
		next := make(chan int)
		for range 8 {
			wg.Go(func() {
				for n := range next {
					l, conn, err := c.line(n, 0, 1, "/v1/events")
					if err == nil {
						_, err = conn.Write(l.requests[0])
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
					conns[n] = conn
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
		b.ReportMetric((after-before)*1024/float64(phones), "KiB/phone")
		for _, conn := range conns {
			conn.Close()
		}
	}
}
