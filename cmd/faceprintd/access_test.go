package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	phoneclient "github.com/faceprint/faceprint/device/phone/client"
)

// Who may do what, over both listeners of the real daemon: every operation of
// both descriptions, asked by everybody who can ask. An operation without a row
// here fails the test.

// onSocket is the least role of each operation on the unix socket.
var onSocket = map[string]string{
	"POST /v1/authenticate":               "kiosk",
	"POST /v1/identify":                   "kiosk",
	"GET /v1/events":                      "kiosk",
	"POST /v1/phones":                     "kiosk",
	"DELETE /v1/phones/codes/{id}":        "kiosk",
	"POST /v1/pin":                        "kiosk",
	"PUT /v1/people/{user}/pin":           "admin",
	"DELETE /v1/people/{user}/pin":        "admin",
	"POST /v1/finger-module/trust":        "admin",
	"POST /v1/people":                     "admin",
	"GET /v1/people":                      "admin",
	"GET /v1/people/{user}":               "admin",
	"DELETE /v1/people/{user}":            "admin",
	"DELETE /v1/people/{user}/adapted":    "admin",
	"POST /v1/people/{user}/renew":        "admin",
	"POST /v1/people/{user}/unlock":       "admin",
	"GET /v1/people/{user}/report":        "admin",
	"POST /v1/own-report":                 "kiosk",
	"GET /v1/audit":                       "admin",
	"POST /v1/audit/checkpoint":           "admin",
	"POST /v1/backup":                     "admin",
	"GET /v1/doctor":                      "admin",
	"GET /v1/camera/chart":                "local",
	"POST /v1/camera/measure":             "admin",
	"GET /v1/config":                      "admin",
	"GET /v1/phones":                      "admin",
	"GET /v1/phones/clock":                "admin",
	"POST /v1/phones/clock":               "admin",
	"PATCH /v1/phones/{id}":               "admin",
	"PUT /v1/phones/{id}/terms":           "admin",
	"DELETE /v1/phones/{id}":              "admin",
	"POST /v1/kiosk/code":                 "admin",
	"GET /v1/logins":                      "admin",
	"PUT /v1/logins/{account}":            "admin",
	"DELETE /v1/logins/{account}":         "admin",
	"POST /v1/login":                      "admin", // or being the account, which the matrix's callers are not
	askKeyring:                            "root",
	"PUT /v1/logins/{account}/keyring":    "root",
	"DELETE /v1/logins/{account}/keyring": "admin",
	"GET /v1/status":                      "local",
	"GET /v1/keys":                        "local",
	"GET /v1/consent":                     "local",
}

// onPhones is what each operation on the phones' listener needs: anyone, paired,
// or a right.
var onPhones = map[string]string{
	"POST /v1/pair":          "anyone",
	"POST /v1/session":       "anyone",
	"GET /v1/me":             "paired",
	"DELETE /v1/me":          "paired",
	"GET /v1/phones":         "paired",
	"GET /v1/keys":           "paired",
	"GET /v1/events":         "paired",
	"POST /v1/unlock":        "unlock",
	"POST /v1/kiosk":         "unlock",
	"POST /v1/verify":        "verify",
	"GET /v1/requests":       "approve",
	"POST /v1/requests/{id}": "approve",
	"GET /v1/history":        "history",
}

// askKeyring is a login that asks for the password of the account's keyring.
const askKeyring = "POST /v1/login?keyring"

// askAs names the variable that makes this program ask, as whoever it runs as,
// what it reads: a line of method and path, answered with a status a line.
const askAs = "FACEPRINT_TEST_ASK"

func askFor(socket string) int {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		method, path, _ := strings.Cut(lines.Text(), " ")
		req, err := http.NewRequest(method, "http://x"+path, bodyOf(lines.Text()))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := c.Do(req)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		resp.Body.Close() // of a stream too
		fmt.Println(resp.StatusCode)
	}
	return 0
}

// bodyOf is a body that gets past the question who asks and no further.
func bodyOf(op string) io.Reader {
	switch method, path, _ := strings.Cut(op, " "); {
	case method == http.MethodGet, method == http.MethodDelete:
		return http.NoBody
	case strings.TrimSpace(op) == askKeyring:
		return strings.NewReader(`{"account":"root","nonce":"0123456789abcdef","keyring":true}`)
	case path == "/v1/login": // who may ask depends on what for
		return strings.NewReader(`{"account":"root","nonce":"0123456789abcdef"}`)
	}
	return strings.NewReader("{}")
}

// operationsOf lists what a description describes, as METHOD path.
func operationsOf(t *testing.T, description io.Reader) []string {
	t.Helper()
	var d struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.NewDecoder(description).Decode(&d); err != nil {
		t.Fatal(err)
	}
	var all []string
	for path, methods := range d.Paths {
		for method := range methods {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		t.Fatal("the description describes nothing")
	}
	return all
}

// fill puts something into a path that nobody has.
func fill(op string) string {
	for _, name := range []string{"{user}", "{id}", "{account}"} {
		op = strings.ReplaceAll(op, name, "nobody")
	}
	return op
}

func TestAccessMatrix(t *testing.T) {
	const config = "[camera]\nsource = \"/dev/video255\"\n[api]\nadmin_group = \"staff\"\nkiosk_group = \"games\"\n"
	history := []string{"history"}
	c := newCrowd(t, 128, config, history, history, history)
	// Another device, with which the same phones are paired, and one more.
	other := gather(t, &crowd{phones: slices.Clone(c.phones)}, len(c.phones)+1, config)

	t.Run("socket", func(t *testing.T) {
		ops := append(operationsOf(t, c.described(t)), askKeyring)
		asked := slices.DeleteFunc(slices.Clone(ops), func(op string) bool { return onSocket[op] == "" })
		for _, op := range ops {
			if onSocket[op] == "" {
				t.Errorf("%s on the socket has no row", op)
			}
		}
		for op := range onSocket {
			if !slices.Contains(ops, op) {
				t.Errorf("%s has a row and is not on the socket", op)
			}
		}
		rank := map[string]int{"local": 1, "kiosk": 2, "admin": 3, "root": 4}
		for role, groups := range map[string][]uint32{"local": {}, "kiosk": {60}, "admin": {50}, "self": nil} { // games and staff of base-passwd
			t.Run(role, func(t *testing.T) {
				is := role
				if role == "self" {
					is = "admin" // the daemon's own user
				}
				switch root := os.Geteuid() == 0; {
				case role != "self" && !root:
					t.Skip("only root can ask as others")
				case role == "self" && root:
					t.Skip("root may do everything")
				}
				for n, status := range c.askAs(t, groups, asked) {
					op := asked[n]
					if forbidden := status == http.StatusForbidden; forbidden != (rank[is] < rank[onSocket[op]]) {
						t.Errorf("%s on the socket as %s: %d, it needs %s", op, role, status, onSocket[op])
					}
				}
			})
		}
	})

	t.Run("phones", func(t *testing.T) {
		conn, _, err := c.dialFrom(300)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		described := operationsOf(t, resp.Body)
		ops := slices.Compact(slices.Sorted(slices.Values(append(operationsOf(t, c.described(t)), described...))))
		// Phones 0 to 2 have few rights and take turns, since one may not ask so
		// often; the others have every right.
		const limited, revoked, others = 3, 3, 4
		list, err := c.client.Phones(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		revokedKey, err := phoneclient.PublicKey(c.phones[revoked])
		if err != nil || len(list.Phones) != len(c.phones) {
			t.Fatal(len(list.Phones), err)
		}
		if _, err := c.client.RevokePhone(t.Context(), revokedKey.ID()); err != nil {
			t.Fatal(err)
		}
		for n, op := range ops {
			need, here := onPhones[op], slices.Contains(described, op)
			if here && need == "" {
				t.Errorf("%s on the phones' listener has no row", op)
				continue
			}
			for i, role := range []string{"nobody", "stranger", "elsewhere", "relayed", "moved", "stale", "revoked", "limited", "paired"} {
				asker := others + n
				switch role {
				case "revoked":
					asker = revoked
				case "limited":
					asker = n % limited
				}
				if role == "limited" && op == "DELETE /v1/me" {
					asker = len(c.phones) - 1 // it is the asker's end
				}
				status := c.askOver(t, other, 10*(n+1)+i, asker, role, fill(op))
				want := "in"
				switch {
				case op == "POST /v1/pair" || op == "POST /v1/session":
					// Open to all; a signature that does not hold is no help.
					if role != "nobody" && op != "POST /v1/pair" && role != "paired" && role != "limited" {
						want = "401"
					}
				case role != "paired" && role != "limited" && (here || role != "nobody"):
					want = "401"
				case !here:
					want = "404" // an operation of the socket, of which nothing is here
				case role == "limited" && !slices.Contains([]string{"paired", "history"}, need):
					want = "403"
				}
				got := strconv.Itoa(status)
				if status != 401 && status != 403 && !(status == 404 && !here) {
					got = "in"
				}
				if got != want {
					t.Errorf("%s as %s: %d, want %s", op, role, status, want)
				}
			}
		}
	})
}

// described is the socket's description.
func (c *crowd) described(t *testing.T) io.Reader {
	t.Helper()
	h := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.path("api.sock"))
	}}}
	resp, err := h.Get("http://x/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

// askAs asks over the socket as a user who is nobody, in these groups; nil is as
// whoever runs the test.
func (c *crowd) askAs(t *testing.T, groups []uint32, ops []string) []int {
	t.Helper()
	// A copy in a folder that everybody can enter.
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, d := range []string{dir, c.dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/ask", program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir + "/ask")
	cmd.Env = []string{askAs + "=" + c.path("api.sock")}
	cmd.Dir = dir
	if groups != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: groups}}
	}
	var in strings.Builder
	for _, op := range ops {
		in.WriteString(fill(op) + "\n")
	}
	cmd.Stdin, cmd.Stderr = strings.NewReader(in.String()), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for word := range strings.FieldsSeq(string(out)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if len(all) != len(ops) {
		t.Fatalf("%d answers to %d questions: %s", len(all), len(ops), out)
	}
	return all
}

// askOver asks over the phones' listener, from an address of its own, as phone
// n in a role. Other is another device, which knows the phone too.
func (c *crowd) askOver(t *testing.T, other *crowd, house, n int, role, op string) int {
	t.Helper()
	conn, binding, err := c.dialFrom(house)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	method, target, _ := strings.Cut(op, " ")
	body, err := io.ReadAll(bodyOf(op))
	if err != nil {
		t.Fatal(err)
	}
	r := phoneclient.Request{Method: method, Target: target, Counter: uint64(time.Now().UnixMicro()), Binding: binding, Body: body}
	key := c.phones[n]
	switch role {
	case "moved":
		r.Binding[0] ^= 1 // signed for another connection
	case "elsewhere": // paired with the other device alone
		key = other.phones[len(other.phones)-1]
	case "relayed": // signed for the other device, by a phone that both know, and brought here
		there, binding, err := other.dialFrom(house)
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		r.Binding = binding
		me := r
		me.Method, me.Target, me.Body, me.Counter = "GET", "/v1/me", nil, r.Counter-1
		if status := c.send(t, there, key, me); status != http.StatusOK {
			t.Fatalf("the other device does not know the phone: %d", status)
		}
	case "stale":
		fresh := r
		fresh.Method, fresh.Target, fresh.Body = "GET", "/v1/me", nil
		if status := c.send(t, conn, key, fresh); status != http.StatusOK {
			t.Fatalf("before %s: %d", op, status)
		}
	case "stranger":
		i, err := phoneclient.NewIdentity("")
		if err != nil {
			t.Fatal(err)
		}
		s, err := i.Sign(r)
		if err != nil {
			t.Fatal(err)
		}
		return c.write(t, conn, r, s.String())
	case "nobody":
		return c.write(t, conn, r, "")
	}
	return c.send(t, conn, key, r)
}

func (c *crowd) send(t *testing.T, conn net.Conn, key *ecdsa.PrivateKey, r phoneclient.Request) int {
	t.Helper()
	s, err := phoneclient.Sign(key, r)
	if err != nil {
		t.Fatal(err)
	}
	return c.write(t, conn, r, s.String())
}

func (c *crowd) write(t *testing.T, conn net.Conn, r phoneclient.Request, authorization string) int {
	t.Helper()
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", r.Method, r.Target, len(r.Body))
	if authorization != "" {
		head += "Authorization: " + authorization + "\r\n"
	}
	if _, err := conn.Write(append([]byte(head+"\r\n"), r.Body...)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	resp.Body.Close()
	return resp.StatusCode
}
