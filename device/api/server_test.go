package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faceprint/faceprint/device/api/client"
)

// fake is a backend that says what a test tells it to.
type fake struct {
	decision client.Decision
	err      error
	events   chan client.Event
	backup   *fakeBackup
	asked    client.Attempt
	hints    []string      // of a login
	waits    chan struct{} // when set, an attempt tells here that it began, and waits for its end
}

func (f *fake) Authenticate(ctx context.Context, a client.Attempt) (client.Decision, error) {
	f.asked = a
	if f.waits != nil {
		f.waits <- struct{}{}
		<-ctx.Done()
		f.waits <- struct{}{}
		return client.Decision{}, ctx.Err()
	}
	return f.decision, f.err
}

func (f *fake) Identify(_ context.Context, a client.Attempt) (client.Decision, error) {
	f.asked = a
	return f.decision, f.err
}

func (f *fake) Enroll(context.Context, client.Enrolment) (client.Enrolled, error) {
	return client.Enrolled{User: "u1"}, f.err
}
func (f *fake) People(context.Context) (client.People, error) { return client.People{}, f.err }
func (f *fake) Person(_ context.Context, user string) (client.Person, error) {
	return client.Person{User: user}, f.err
}

func (f *fake) Forget(_ context.Context, user string) (client.Receipt, error) {
	return client.Receipt{User: user}, f.err
}

func (f *fake) TrustModule(context.Context) (client.Status, error) {
	return client.Status{State: "ready"}, f.err
}

func (f *fake) Report(context.Context, string) (client.Report, error) { return client.Report{}, f.err }

func (f *fake) OwnReport(context.Context, client.Attempt) (client.OwnReport, error) {
	return client.OwnReport{Decision: f.decision}, f.err
}

func (f *fake) Checkpoint(context.Context) (client.Checkpoint, error) {
	return client.Checkpoint{}, f.err
}

func (f *fake) Backup(context.Context, client.BackupKeys) (Backup, error) {
	if f.backup == nil {
		return newFakeBackup(1), f.err
	}
	return f.backup, f.err
}

// fakeBackup is so many bytes of nothing; closed ends when it is closed.
type fakeBackup struct {
	*io.SectionReader
	closed chan struct{}
}

func newFakeBackup(size int64) *fakeBackup {
	return &fakeBackup{io.NewSectionReader(zeroes{}, 0, size), make(chan struct{})}
}

type zeroes struct{}

func (zeroes) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func (b *fakeBackup) Size() (int64, error) { return b.SectionReader.Size(), nil }
func (b *fakeBackup) Close() error         { close(b.closed); return nil }

func (f *fake) Unlock(_ context.Context, user string) (client.Person, error) {
	return client.Person{User: user}, f.err
}

func (f *fake) Renew(context.Context, string) (client.Renewed, error) {
	return client.Renewed{Templates: 1}, f.err
}

func (f *fake) Audit(_ context.Context, after uint64, _ int) (client.AuditPage, error) {
	return client.AuditPage{Total: after}, f.err
}

func (f *fake) Status(context.Context) (client.Status, error) {
	return client.Status{State: "ready", People: 3, Parts: []client.Part{{Name: "camera", State: "ok"}, {Name: "finger", State: "missing"}, {Name: "door", State: "off"}}}, f.err
}

func (f *fake) Diagnose(context.Context) (client.Diagnosis, error) {
	return client.Diagnosis{}, f.err
}
func (f *fake) CameraChart() client.CameraChart { return client.CameraChart{SVG: "<svg/>"} }
func (f *fake) MeasureCamera(context.Context) (client.CameraMeasure, error) {
	return client.CameraMeasure{Fields: []float64{}, Checks: []client.Check{}}, f.err
}
func (f *fake) Keys(context.Context) (client.Keys, error) { return client.Keys{}, f.err }
func (f *fake) AuthenticatePIN(_ context.Context, a client.PINAttempt) (client.Decision, error) {
	return f.decision, f.err
}

func (f *fake) SetPIN(_ context.Context, user string, p client.NewPIN) error {
	if user != "u1" || p.PIN != "1" {
		return fmt.Errorf("the PIN %q of %q", p.PIN, user)
	}
	return f.err
}

func (f *fake) RestoreTemplates(_ context.Context, user string) error {
	if user != "u1" {
		return fmt.Errorf("the templates of %q", user)
	}
	return f.err
}

func (f *fake) RemovePIN(_ context.Context, user string) error {
	if user != "u1" {
		return fmt.Errorf("the PIN of %q", user)
	}
	return f.err
}

func (f *fake) KioskCode(context.Context) (client.KioskCode, error) {
	return client.KioskCode{Code: "12345678"}, f.err
}
func (f *fake) Config(context.Context) (client.Config, error) { return client.Config{}, f.err }
func (f *fake) Logins(context.Context) (client.Logins, error) { return client.Logins{}, f.err }
func (f *fake) AllowLogin(_ context.Context, account, user string) (client.Login, error) {
	return client.Login{Account: account, User: user}, f.err
}

func (f *fake) RevokeLogin(_ context.Context, account string) (client.Login, error) {
	return client.Login{Account: account}, f.err
}

func (f *fake) SetKeyring(_ context.Context, account string, _ client.Attempt) (client.Keyring, error) {
	return client.Keyring{Account: account, Decision: f.decision, Password: "abc"}, f.err
}

func (f *fake) ForgetKeyring(_ context.Context, account string) (client.Login, error) {
	return client.Login{Account: account}, f.err
}

func (f *fake) Login(_ context.Context, a client.LoginAttempt, hint func(string)) (client.Decision, []byte, error) {
	for _, h := range f.hints {
		hint(h)
	}
	if a.Keyring {
		return f.decision, []byte("abc"), f.err
	}
	return f.decision, nil, f.err
}
func (f *fake) Events(context.Context) <-chan client.Event { return f.events }

func (f *fake) Phones(context.Context) (client.Phones, error) { return client.Phones{}, f.err }
func (f *fake) WithdrawPhone(context.Context, string) error   { return nil }

func (f *fake) InvitePhone(_ context.Context, i client.Invite, by Role, _ string) (client.Invited, error) {
	return client.Invited{Text: i.User + " by " + by.String()}, f.err
}

func (f *fake) RenamePhone(_ context.Context, id, name, _ string) (client.Phone, error) {
	return client.Phone{ID: id, Name: name}, f.err
}

func (f *fake) SetPhoneTerms(_ context.Context, id string, t client.PhoneTerms, _ string) (client.Phone, error) {
	return client.Phone{ID: id, Rights: t.Rights}, nil
}

func (f *fake) PhoneClock(context.Context) (client.PhoneClock, error) {
	return client.PhoneClock{}, f.err
}

func (f *fake) AcceptPhoneClock(context.Context, string) (client.PhoneClock, error) {
	return client.PhoneClock{}, f.err
}

func (f *fake) RevokePhone(_ context.Context, id, _ string) (client.Phone, error) {
	return client.Phone{ID: id}, f.err
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// recorder has what event streams ask of a connection.
type recorder struct{ *httptest.ResponseRecorder }

func (recorder) SetWriteDeadline(time.Time) error { return nil }

// as asks the handler in the name of a role.
func as(s *Server, r Role, method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder{w}, req.WithContext(context.WithValue(req.Context(), roleKey{}, r)))
	return w
}

const enrolBody = `{"name":"A","factors":["face"],"consent":{"given":true,"text_version":"1"}}`

// What each role may do. A new operation that is not in this table fails the
// test below.
var operations = []struct {
	method, path, body string
	need               Role
}{
	{"POST", "/v1/authenticate", `{"user":"u1"}`, RoleKiosk},
	{"POST", "/v1/identify", `{}`, RoleKiosk},
	{"GET", "/v1/events", "", RoleKiosk},
	{"POST", "/v1/people", enrolBody, RoleAdmin},
	{"GET", "/v1/people", "", RoleAdmin},
	{"GET", "/v1/people/{user}", "", RoleAdmin},
	{"DELETE", "/v1/people/{user}", "", RoleAdmin},
	{"POST", "/v1/people/{user}/unlock", "", RoleAdmin},
	{"POST", "/v1/people/{user}/renew", "", RoleAdmin},
	{"POST", "/v1/finger-module/trust", "", RoleAdmin},
	{"GET", "/v1/people/{user}/report", "", RoleAdmin},
	{"POST", "/v1/own-report", "{}", RoleKiosk},
	{"GET", "/v1/audit", "", RoleAdmin},
	{"POST", "/v1/audit/checkpoint", "", RoleAdmin},
	{"POST", "/v1/backup", `{"operator":["age1"]}`, RoleAdmin},
	{"GET", "/v1/phones", "", RoleAdmin},
	{"POST", "/v1/phones", `{"user":"u1"}`, RoleKiosk},
	{"GET", "/v1/phones/clock", "", RoleAdmin},
	{"POST", "/v1/phones/clock", "", RoleAdmin},
	{"DELETE", "/v1/phones/codes/{id}", "", RoleKiosk},
	{"PATCH", "/v1/phones/{id}", `{"name":"n"}`, RoleAdmin},
	{"PUT", "/v1/phones/{id}/terms", `{"rights":["approve"]}`, RoleAdmin},
	{"DELETE", "/v1/phones/{id}", "", RoleAdmin},
	{"GET", "/v1/status", "", RoleLocal},
	{"GET", "/v1/doctor", "", RoleAdmin},
	{"GET", "/v1/camera/chart", "", RoleLocal},
	{"POST", "/v1/camera/measure", "{}", RoleAdmin},
	{"GET", "/v1/config", "", RoleAdmin},
	{"GET", "/v1/keys", "", RoleLocal},
	{"GET", "/v1/consent", "", RoleLocal},
	{"POST", "/v1/kiosk/code", "{}", RoleAdmin},
	{"GET", "/v1/logins", "", RoleAdmin},
	{"PUT", "/v1/logins/{account}", `{"user":"u1"}`, RoleAdmin},
	{"DELETE", "/v1/logins/{account}", "", RoleAdmin},
	{"POST", "/v1/login", `{"account":"nobody-here","nonce":"0123456789abcdef"}`, RoleAdmin}, // or being the account
	{"POST", "/v1/login", `{"account":"nobody-here","nonce":"0123456789abcdef","keyring":true}`, RoleRoot},
	{"PUT", "/v1/logins/{account}/keyring", "{}", RoleRoot},
	{"DELETE", "/v1/logins/{account}/keyring", "", RoleAdmin},
	{"POST", "/v1/pin", `{"name":"A","pin":"1"}`, RoleKiosk},
	{"PUT", "/v1/people/{user}/pin", `{"pin":"1"}`, RoleAdmin},
	{"DELETE", "/v1/people/{user}/pin", "", RoleAdmin},
	{"DELETE", "/v1/people/{user}/adapted", "", RoleAdmin},
}

func TestWhoMayDoWhat(t *testing.T) {
	events := make(chan client.Event)
	close(events)
	s := New(&fake{events: events}, Options{Log: quiet()})
	listed := map[string]bool{}
	for _, op := range operations {
		listed[op.method+" "+op.path] = true
		for _, r := range []Role{RoleNone, RoleLocal, RoleKiosk, RoleAdmin, RoleRoot} {
			w := as(s, r, op.method, strings.NewReplacer("{user}", "u1", "{account}", "alice").Replace(op.path), op.body)
			want := http.StatusOK
			if r < op.need {
				want = http.StatusForbidden
			}
			if w.Code != want {
				t.Errorf("%s %s as %s: %d, want %d: %s", op.method, op.path, r, w.Code, want, w.Body)
			}
			if want == http.StatusForbidden {
				if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
					t.Errorf("%s %s as %s: content type %q", op.method, op.path, r, got)
				}
				var e client.Error
				if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Problem() != client.ProblemForbidden || e.Advice == "" {
					t.Errorf("%s %s as %s: %s (%v)", op.method, op.path, r, w.Body, err)
				}
			}
		}
	}
	for path, item := range s.api.OpenAPI().Paths {
		for method, op := range map[string]any{"GET": item.Get, "POST": item.Post, "DELETE": item.Delete, "PATCH": item.Patch, "PUT": item.Put} {
			if b, _ := json.Marshal(op); string(b) != "null" && !listed[method+" "+path] {
				t.Errorf("%s %s is not in the table", method, path)
			}
		}
	}
}

func TestMetricsAreForAdmins(t *testing.T) {
	s := New(&fake{decision: client.Decision{Outcome: client.Granted, TookMs: 500}}, Options{Log: quiet()})
	as(s, RoleAdmin, "POST", "/v1/identify", "{}")
	if w := as(s, RoleKiosk, "GET", "/metrics", ""); w.Code != http.StatusForbidden {
		t.Errorf("a kiosk got the metrics: %d", w.Code)
	}
	w := as(s, RoleAdmin, "GET", "/metrics", "")
	for _, want := range []string{
		`faceprint_attempts_total{outcome="granted"} 1`, `faceprint_attempts_total{outcome="fault"} 0`,
		`faceprint_part_up{part="camera"} 1`, `faceprint_part_up{part="finger"} 0`, `faceprint_people 3`,
		`faceprint_decision_seconds_count 1`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if strings.Contains(w.Body.String(), `part="door"`) {
		t.Error("a part that is off is counted as up or down")
	}
}

func TestBadRequests(t *testing.T) {
	s := New(&fake{}, Options{Log: quiet()})
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		problem            string
	}{
		"no consent":          {"POST", "/v1/people", `{"name":"A","factors":["face"],"consent":{"given":false,"text_version":"1"}}`, 422, client.ProblemConsent},
		"consent left out":    {"POST", "/v1/people", `{"name":"A","factors":["face"]}`, 422, client.ProblemInvalid},
		"unknown factor":      {"POST", "/v1/people", `{"name":"A","factors":["iris"],"consent":{"given":true,"text_version":"1"}}`, 422, client.ProblemInvalid},
		"no factor":           {"POST", "/v1/people", `{"name":"A","factors":[],"consent":{"given":true,"text_version":"1"}}`, 422, client.ProblemInvalid},
		"unknown field":       {"POST", "/v1/authenticate", `{"user":"u1","grant":true}`, 422, client.ProblemInvalid},
		"nobody claimed":      {"POST", "/v1/authenticate", `{}`, 422, client.ProblemInvalid},
		"claimed in identify": {"POST", "/v1/identify", `{"user":"u1"}`, 422, client.ProblemInvalid},
		"no JSON":             {"POST", "/v1/identify", `{`, 400, client.ProblemInvalid},
		"wrong type":          {"POST", "/v1/identify", `{"timeout_ms":"soon"}`, 422, client.ProblemInvalid},
		"negative limit":      {"GET", "/v1/audit?limit=-1", "", 422, client.ProblemInvalid},
		"long nonce":          {"POST", "/v1/identify", `{"nonce":"` + strings.Repeat("x", 257) + `"}`, 422, client.ProblemInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := as(s, RoleAdmin, c.method, c.path, c.body)
			var e client.Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			if w.Code != c.status || e.Problem() != c.problem || e.Status != c.status {
				t.Errorf("%d %s, want %d %s: %s", w.Code, e.Problem(), c.status, c.problem, w.Body)
			}
		})
	}
}

func TestLargeBodyIsRefused(t *testing.T) {
	s := New(&fake{}, Options{Log: quiet()})
	w := as(s, RoleAdmin, "POST", "/v1/identify", `{"nonce":"`+strings.Repeat("x", maxBody)+`"}`)
	if w.Code/100 != 4 {
		t.Errorf("%d", w.Code)
	}
}

func TestRenamedPhoneIsTheOneNamed(t *testing.T) {
	p, err := serve(t, &fake{}).RenamePhone(t.Context(), "p1", "new")
	if err != nil || p.ID != "p1" || p.Name != "new" {
		t.Errorf("%+v, %v", p, err)
	}
}

// serve runs the server on a socket and returns a client of it.
func serve(t *testing.T, f *fake) *client.Client {
	t.Helper()
	return serveOn(t, New(f, Options{Log: quiet()}))
}

func serveOn(t *testing.T, s *Server) *client.Client {
	t.Helper()
	path := filepath.Join(socketDir(t), "api.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	c := client.New(path)
	t.Cleanup(c.Close)
	return c
}

// socketDir is short enough for a socket's path, which t.TempDir need not be.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestClientAndServerAgree(t *testing.T) {
	score := 0.7
	want := client.Decision{
		Outcome: client.Refused, User: "u1", Reasons: []string{"finger-no-match"}, Hints: []string{}, Failures: 2, FMR: 1,
		Factors: []client.Factor{{Kind: "face", Passed: true, Score: &score, FMR: 1e-5}}, Audit: 9, TookMs: 812.5,
	}
	f := &fake{decision: want}
	c := serve(t, f)
	asked := client.Attempt{User: "u1", Nonce: "n", Audience: "till-3", Factors: []string{"face"}, TimeoutMs: 5000}
	got, err := c.Authenticate(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	if f.asked.Nonce != asked.Nonce || f.asked.TimeoutMs != 5000 || !slices.Equal(f.asked.Factors, asked.Factors) {
		t.Errorf("asked %+v", f.asked)
	}
	if p, err := c.Person(t.Context(), "../people"); err != nil || p.User != "../people" {
		t.Errorf("an id with a slash: %+v, %v", p, err)
	}
	if a, err := c.Audit(t.Context(), 7, 10); err != nil || a.Total != 7 {
		t.Errorf("audit: %+v, %v", a, err)
	}
	text, err := c.ConsentText(t.Context())
	if err != nil || text.Version == "" || !strings.Contains(text.Text, "agree") {
		t.Errorf("consent text: %+v, %v", text, err)
	}
}

// A caller who takes a little of a backup and stops is left, and the backup is
// closed; the daemon answers others meanwhile.
func TestStalledBackupIsClosed(t *testing.T) {
	f := &fake{backup: newFakeBackup(64 << 20)} // more than a socket holds
	s := New(f, Options{Log: quiet()})
	s.stall = 20 * time.Millisecond
	c := serveOn(t, s)
	reader, writer := io.Pipe()
	defer reader.Close()
	ended := make(chan error, 1)
	go func() { ended <- c.Backup(t.Context(), writer, client.BackupKeys{Operator: []string{"age1"}}) }()
	if _, err := io.ReadFull(reader, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("while a backup stalls: %v", err)
	}
	<-f.backup.closed
	go io.Copy(io.Discard, reader)
	if err := <-ended; err == nil {
		t.Error("a cut backup was taken for a whole one")
	}
}

func TestFaultsAreProblems(t *testing.T) {
	f := &fake{err: errors.New("sensor: /dev/serial0: gone")}
	c := serve(t, f)
	_, err := c.Identify(t.Context(), client.Attempt{})
	var e *client.Error
	if !errors.As(err, &e) || e.Problem() != client.ProblemFault || e.Status != 503 || !strings.Contains(err.Error(), "serial0") {
		t.Errorf("%v", err)
	}
	f.err = NewProblem(http.StatusConflict, client.ProblemBusy, "another attempt is going on", "wait for it")
	if _, err = c.Identify(t.Context(), client.Attempt{}); !errors.As(err, &e) || e.Problem() != client.ProblemBusy || !strings.Contains(err.Error(), "wait for it") {
		t.Errorf("%v", err)
	}
}

func TestLeavingEndsTheAttempt(t *testing.T) {
	f := &fake{waits: make(chan struct{})}
	c := serve(t, f)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Authenticate(ctx, client.Attempt{User: "u1"})
		done <- err
	}()
	<-f.waits
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-f.waits // the backend's context ended
}

func TestEvents(t *testing.T) {
	f := &fake{events: make(chan client.Event, 4)}
	c := serve(t, f)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	enough := errors.New("enough")
	var got []string
	err := c.Events(ctx, func() {
		f.events <- client.Event{Seq: 1, Kind: "hint", Hint: "closer"}
		f.events <- client.Event{Seq: 2, Kind: "decision", User: "u1"}
	}, func(e client.Event) error {
		got = append(got, e.Kind+e.Hint+e.User)
		if len(got) == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(got, []string{"hintcloser", "decisionu1"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEventsHidePeopleFromTheKiosk(t *testing.T) {
	f := &fake{events: make(chan client.Event, 1)}
	f.events <- client.Event{Seq: 1, Kind: "decision", User: "u1"}
	close(f.events)
	w := as(New(f, Options{Log: quiet()}), RoleKiosk, "GET", "/v1/events", "")
	if body := w.Body.String(); !strings.Contains(body, "decision") || strings.Contains(body, "u1") {
		t.Errorf("%s", body)
	}
}

func TestListen(t *testing.T) {
	dir := socketDir(t)
	path := filepath.Join(dir, "api.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("a second daemon on the socket: %v", err)
	}
	// A daemon that is killed leaves its socket behind.
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("the left-over socket: %v", err)
	}
	again.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("a file in the way: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", 120))); err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("a long path: %v", err)
	}
}

func TestRoles(t *testing.T) {
	g := Groups{Admin: 5001, Kiosk: 5002}
	own := os.Geteuid()
	for name, c := range map[string]struct {
		groups Groups
		peer   Peer
		want   Role
	}{
		"root":                         {g, Peer{UID: 0}, RoleRoot},
		"the daemon's own user":        {g, Peer{UID: own}, map[bool]Role{true: RoleRoot, false: RoleAdmin}[own == 0]},
		"anybody":                      {g, Peer{UID: 4001, GIDs: []int{4001}}, RoleLocal},
		"in the kiosk group":           {g, Peer{UID: 4001, GIDs: []int{4001, 5002}}, RoleKiosk},
		"in the admin group":           {g, Peer{UID: 4001, GIDs: []int{4001, 5001}}, RoleAdmin},
		"in both":                      {g, Peer{UID: 4001, GIDs: []int{5002, 5001}}, RoleAdmin},
		"no such groups, root's group": {Groups{}, Peer{UID: 4001, GIDs: []int{0}}, RoleLocal},
		"no such groups, group -1":     {Groups{Admin: -1, Kiosk: -1}, Peer{UID: 4001, GIDs: []int{-1}}, RoleLocal},
	} {
		if got := c.groups.Role(c.peer); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestPeerIsThisProcess(t *testing.T) {
	l, err := Listen(filepath.Join(socketDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	p, err := peerOf(accepted.(*net.UnixConn))
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != os.Getpid() || p.UID != os.Geteuid() || !slices.Contains(p.GIDs, os.Getegid()) {
		t.Errorf("peer %+v, this is %d %d %d", p, os.Getpid(), os.Geteuid(), os.Getegid())
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if !slices.Contains(p.GIDs, g) {
			t.Errorf("group %d is missing from %v", g, p.GIDs)
		}
	}
}

func TestLookupGroups(t *testing.T) {
	g, missing, err := LookupGroups("no-such-group-here", "")
	if err != nil || g != (Groups{}) || !slices.Equal(missing, []string{"no-such-group-here"}) {
		t.Errorf("%+v %v %v", g, missing, err)
	}
}

func TestOpenAPI(t *testing.T) {
	s := New(&fake{}, Options{Version: "1", Log: quiet()})
	w := as(s, RoleLocal, "GET", "/openapi.json", "")
	var d struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			Role string `json:"x-role"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1") || d.Paths["/v1/people"]["post"].Role != "admin" {
		t.Errorf("%s, paths %v", d.OpenAPI, slices.Collect(maps.Keys(d.Paths)))
	}
	if strings.Contains(w.Body.String(), "http://") && strings.Contains(w.Body.String(), "unpkg") {
		t.Error("the description refers to scripts from elsewhere")
	}
}
