package phone

import (
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	wire "github.com/faceprint/faceprint/device/api/client"
)

// BenchmarkSigned is one signed request after the other over TLS: everything
// that the device does for a phone but ask its vault. The client's half of TLS
// and of HTTP is in it too; the signatures were made before.
func BenchmarkSigned(b *testing.B) {
	d := serve(b, newMemory("alice"), Options{Limits: many})
	i, _ := d.pair(b, wire.Invite{User: "alice"})
	c := d.dial(b)
	c.want(b, sign(b, i, c.binding, "GET", "/v1/history?limit=0", 9, ""), http.StatusUnprocessableEntity, wire.ProblemInvalid) // from now on it may idle
	requests := make([][]byte, b.N)
	for n := range requests {
		requests[n] = sign(b, i, c.binding, "GET", "/v1/me", uint64(n+10), "")
	}
	b.ReportAllocs()
	b.ResetTimer()
	used := cpu(b)
	for _, r := range requests {
		if _, err := c.Write(r); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
		resp.Body.Close()
	}
	b.ReportMetric(float64((cpu(b)-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
