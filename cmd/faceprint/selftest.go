package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/device/api/client"
)

// selfTest is a device's self-test as it is filed. The device signs no papers,
// only grants; so the last test is a person whom it knows, whose grant carries
// the digest of the report as its nonce: who checks the grant has the device's
// word, and the presence of that person, for every line of it.
type selfTest struct {
	Report json.RawMessage `json:"report"` // what the digest is over, without white space between its tokens
	Digest string          `json:"digest"` // SHA-256, hexadecimal
	Grant  string          `json:"grant,omitempty"`
	Keys   client.Keys     `json:"keys"` // the device's, for convenience: a checker should have them from elsewhere
}

// selfTestReport is the part that is signed.
type selfTestReport struct {
	At       time.Time             `json:"at"`
	Host     string                `json:"host"`
	Version  string                `json:"version"`
	By       string                `json:"by,omitempty"` // who tested
	Bench    bool                  `json:"bench"`        // nothing of it was hardware
	Checks   []client.Check        `json:"checks"`
	Camera   *client.CameraMeasure `json:"camera,omitempty"`
	Attempt  *testAttempt          `json:"attempt,omitempty"`
	Question []testQuestion        `json:"questions"`
	Passed   bool                  `json:"passed"`
}

// testAttempt is what a real attempt measured.
type testAttempt struct {
	Outcome client.Outcome  `json:"outcome"`
	Reasons []string        `json:"reasons"`
	Hints   []string        `json:"hints"`
	Factors []client.Factor `json:"factors"`
	TookMs  float64         `json:"took_ms"`
	Audit   uint64          `json:"audit"`
	Door    string          `json:"door"`              // open, fault, or empty where none said anything
	Contact string          `json:"contact,omitempty"` // of a guard board: opened, or shut where its contact saw nothing
}

// testQuestion is what only a person can see.
type testQuestion struct {
	Question string `json:"question"`
	Answer   string `json:"answer"` // yes, no, not asked
}

// selfTestRoom is more than a report with every check takes, in bytes.
const selfTestRoom = 64 << 10

const selfTestNonce = "faceprint-selftest:"

func (t *tool) selftest() *cobra.Command {
	var by, file, page, check, chart string
	var camera bool
	c := &cobra.Command{
		Use:   "selftest [PERSON]",
		Short: "Test the whole device, with a signed report for the file",
		Long: `Test the whole device: what 'doctor' examines, then a real attempt by PERSON, an
enrolled one who stands before it, with camera, finger module, decision and
door; then what only somebody on the spot can see. PERSON's last touch signs
the report: the device's grant carries its digest.

--camera measures focus and exposure by a chart that is held where a face would
be; --chart FILE.svg writes the chart, to be printed at 100 %. With a guard board
the tester is asked to open the door when the lock clicks: its contact tells.

Without PERSON only the checks are made, and the report is not signed.
--check FILE verifies a report against the keys of the device that runs here.`,
		Example: "  faceprint selftest --chart chart.svg\n  faceprint selftest alice --camera --by 'B. Meier' --output report.json --html report.html\n  faceprint selftest --check report.json",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: t.completePerson,
		RunE: func(cmd *cobra.Command, args []string) error {
			if check != "" {
				return t.checkSelfTest(cmd.Context(), check)
			}
			if chart != "" {
				return t.writeChart(cmd.Context(), chart)
			}
			person := ""
			if len(args) == 1 {
				person = args[0]
			}
			// Before anybody looks and touches for it.
			for _, name := range []string{file, page} {
				if name != "" {
					if err := roomFor(name, selfTestRoom); err != nil {
						return err
					}
				}
			}
			s, r, err := t.runSelfTest(cmd.Context(), person, by, camera)
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(s, "", "  ")
			if err != nil {
				return err
			}
			var failed error // of one that cannot be written, the others are
			if file != "" {
				failed = outfile.Write(file, append(text, '\n'), 0o644)
			}
			if page != "" {
				b, err := selfTestHTML(s, r)
				if err == nil {
					err = outfile.Write(page, b, 0o644)
				}
				failed = errors.Join(failed, err)
			}
			if err := errors.Join(failed, t.print(s, func(w io.Writer) { printSelfTest(w, s, r) })); err != nil {
				return err
			}
			if !r.Passed {
				return &exitError{code: exitFault}
			}
			return nil
		},
	}
	c.Flags().StringVar(&by, "by", "", "who tests; goes into the report")
	c.Flags().StringVarP(&file, "output", "o", "", "write the report (JSON) here")
	c.Flags().StringVar(&page, "html", "", "write a page for the file here")
	c.Flags().BoolVar(&camera, "camera", false, "measure the camera by the chart, which is held where a face would be")
	c.Flags().StringVar(&chart, "chart", "", "write the camera chart (SVG) here, for the printer, and do nothing else")
	c.Flags().StringVar(&check, "check", "", "verify the report in this file")
	return c
}

// writeChart fetches the sheet that --camera looks for.
func (t *tool) writeChart(ctx context.Context, file string) error {
	cl := t.client()
	defer cl.Close()
	chart, err := cl.CameraChart(ctx)
	if err != nil {
		return err
	}
	if err := outfile.Write(file, []byte(chart.SVG), 0o644); err != nil {
		return err
	}
	t.progress("%s: print it at 100 %%, landscape, on matt paper", file)
	return nil
}

func (t *tool) runSelfTest(ctx context.Context, person, by string, camera bool) (selfTest, selfTestReport, error) {
	host, err := os.Hostname()
	if err != nil {
		return selfTest{}, selfTestReport{}, err
	}
	cl := t.client()
	defer cl.Close()
	r := selfTestReport{At: time.Now().UTC().Truncate(time.Second), Host: host, Version: version(), By: by, Question: []testQuestion{}, Passed: true}
	t.progress("examining the device")
	r.Checks = t.diagnose(ctx).Checks
	s, err := cl.Status(ctx)
	if err == nil {
		r.Bench = s.Bench
		r.Checks = append(r.Checks, clockCheck(time.Now(), s.Now))
	}
	if camera {
		t.progress("hold the chart upright where a face would be, and keep still")
		m, err := cl.MeasureCamera(ctx)
		switch {
		case ctx.Err() != nil:
			return selfTest{}, r, ctx.Err()
		case err != nil: // belongs into the report, like anything else that is broken
			r.Checks = append(r.Checks, client.Check{Name: "camera chart", State: checkFail, Detail: err.Error()})
		default:
			r.Camera = &m
			r.Checks = append(r.Checks, m.Checks...)
		}
	}
	for _, c := range r.Checks {
		r.Passed = r.Passed && c.State != checkFail
	}
	user := ""
	if person != "" {
		if user, err = t.resolve(ctx, cl, person); err != nil {
			return selfTest{}, r, err
		}
		t.progress("%s, please look and touch", person)
		if r.Attempt, err = t.testAttempt(ctx, cl, user, guarded(s)); err != nil {
			return selfTest{}, r, err
		}
		if c := r.Attempt.doorCheck(); c.State != "" {
			r.Checks = append(r.Checks, c)
			r.Passed = r.Passed && c.State != checkFail
		}
		r.Passed = r.Passed && r.Attempt.Outcome == client.Granted
		t.ask(&r, "did the lamp of the finger module light?")
		if r.Attempt.Door != "" {
			t.ask(&r, "did the lock click?")
			t.ask(&r, "is the door shut again?")
		}
	}
	out := selfTest{}
	if out.Report, err = json.Marshal(r); err != nil {
		return out, r, err
	}
	out.Digest = digest(out.Report)
	if out.Keys, err = cl.Keys(ctx); err != nil && person != "" {
		return out, r, err
	}
	if person != "" && r.Attempt.Outcome == client.Granted {
		t.progress("%s, please look and touch once more: that signs the report", person)
		d, err := cl.Authenticate(ctx, client.Attempt{User: user, Nonce: selfTestNonce + out.Digest, Audience: "selftest"})
		if err != nil {
			return out, r, err
		}
		if out.Grant = d.Grant; out.Grant == "" {
			t.progress("not signed: %s %s", d.Outcome, strings.Join(append(d.Reasons, d.Hints...), ", "))
		}
	}
	return out, r, nil
}

// clockCheck compares this clock with the daemon's; across a socket they are
// one, across a tunnel they may not be.
func clockCheck(here, there time.Time) client.Check {
	c := client.Check{Name: "clocks", State: checkOK, Detail: fmt.Sprintf("differ by %s", here.Sub(there).Abs().Round(time.Millisecond))}
	if here.Sub(there).Abs() > 5*time.Second {
		c.State, c.Advice = checkWarn, "set both by the network: 'timedatectl'"
	}
	return c
}

// guarded tells whether a guard board holds the door: it has a door contact.
func guarded(s client.Status) bool {
	return slices.ContainsFunc(s.Parts, func(p client.Part) bool {
		return p.Name == "door" && p.State == "ok" && strings.HasPrefix(p.Detail, "guard board")
	})
}

// What a door contact said.
const (
	contactOpened = "opened"
	contactShut   = "shut"
)

// testAttempt makes one real attempt and listens for the door: for its lock, and
// where a guard board has a contact for the leaf that the tester pulls open.
func (t *tool) testAttempt(ctx context.Context, cl *client.Client, user string, contact bool) (*testAttempt, error) {
	events, stop := context.WithCancel(ctx)
	heard := make(chan client.Event, 64)
	subscribed := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(heard)
		ready := func() { once.Do(func() { close(subscribed) }) }
		defer ready()
		_ = cl.Events(events, ready, func(e client.Event) error {
			t.show(e)
			if e.Kind == "door" || e.Kind == "guard" {
				select {
				case heard <- e:
				case <-events.Done():
				}
			}
			return nil
		})
	})
	defer wg.Wait()
	defer stop()
	<-subscribed
	d, err := cl.Authenticate(ctx, client.Attempt{User: user, Audience: "selftest"})
	if err != nil {
		return nil, err
	}
	a := &testAttempt{Outcome: d.Outcome, Reasons: d.Reasons, Hints: d.Hints, Factors: d.Factors, TookMs: d.TookMs, Audit: d.Audit}
	if d.Outcome != client.Granted {
		return a, nil
	}
	a.Door, a.Contact, err = watchDoor(ctx, heard, contact, func() { t.progress("pull the door open now") })
	return a, err
}

// doorCheck is what the attempt says of the door; no state where it says nothing.
func (a *testAttempt) doorCheck() client.Check {
	switch {
	case a.Door == "fault":
		return client.Check{Name: "door", State: checkFail, Detail: "the lock did not open", Advice: "'faceprint status' names the door's fault"}
	case a.Contact == contactShut:
		return client.Check{
			Name: "door", State: checkFail, Detail: "the lock opened, and the door was not seen opening",
			Advice: "pull it open when the lock clicks; if that was done, mend the wires of its contact (the board's door input)",
		}
	case a.Contact == contactOpened:
		return client.Check{Name: "door", State: checkOK, Detail: "the lock opened, and its contact saw the door open"}
	case a.Door == "open":
		return client.Check{Name: "door", State: checkOK, Detail: "the lock opened; there is no contact that sees the door"}
	}
	return client.Check{}
}

// watchDoor follows the door through what the daemon tells: whether it opened
// the lock, and with a contact, whether the leaf came open when it was pulled.
func watchDoor(ctx context.Context, heard <-chan client.Event, contact bool, pull func()) (door, leaf string, err error) {
	limit := time.NewTimer(doorTime) // there may be no door
	defer limit.Stop()
	for door == "" || door == "open" && contact && leaf == "" {
		select {
		case e, ok := <-heard:
			switch {
			case !ok:
				return door, leaf, errors.New("the daemon ended during the attempt; 'journalctl -u faceprintd' tells why")
			case e.Kind == "door":
				if door = e.Outcome; door == "open" && contact && leaf == "" {
					pull()
					limit.Reset(pullTime)
				}
			case e.Outcome == contactOpened:
				leaf = contactOpened
			}
		case <-limit.C:
			if door == "open" && contact {
				leaf = contactShut
			}
			return door, leaf, nil
		case <-ctx.Done():
			return door, leaf, ctx.Err()
		}
	}
	return door, leaf, nil
}

// pullTime is how long the tester has to pull the door open, which is longer than
// the lock is open by default.
const pullTime = 8 * time.Second

// doorTime is how long a door has to say that it opened.
const doorTime = 3 * time.Second

// ask puts a question to whoever is on the spot, where there is somebody.
func (t *tool) ask(r *selfTestReport, question string) {
	q := testQuestion{Question: question, Answer: "not asked"}
	if f, ok := t.in.(*os.File); ok && isTerminal(f) && !t.json && !t.quiet {
		for q.Answer == "not asked" {
			fmt.Fprintf(t.err, "%s [y/n] ", question)
			line, err := bufio.NewReader(f).ReadString('\n')
			switch strings.ToLower(strings.TrimSpace(line)) {
			case "y", "yes":
				q.Answer = "yes"
			case "n", "no":
				q.Answer, r.Passed = "no", false
			}
			if err != nil {
				break
			}
		}
	}
	r.Question = append(r.Question, q)
}

func digest(report []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, report) != nil {
		return ""
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}

// signed tells who signed the report, by keys that are trusted.
func (s selfTest) signed(keys client.Keys) (subject string, at time.Time, err error) {
	if s.Grant == "" {
		return "", at, errors.New("the report is not signed")
	}
	if d := digest(s.Report); d == "" || d != s.Digest {
		return "", at, errors.New("the report was changed: it has another digest")
	}
	set, err := keySet(keys)
	if err != nil {
		return "", at, err
	}
	token, err := jwt.ParseSigned(s.Grant, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", at, fmt.Errorf("the signature is no grant: %w", err)
	}
	var claims jwt.Claims
	var extra struct {
		Nonce string `json:"nonce"`
	}
	if err := token.Claims(set, &claims, &extra); err != nil {
		return "", at, fmt.Errorf("no key of this device signed it: %w", err)
	}
	if extra.Nonce != selfTestNonce+s.Digest {
		return "", at, errors.New("the signature is of another report")
	}
	return claims.Subject, claims.IssuedAt.Time(), nil
}

func (t *tool) checkSelfTest(ctx context.Context, file string) error {
	text, err := readAtMost(file, 1<<20)
	if err != nil {
		return err
	}
	var s selfTest
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%s: no report of a self-test: %w", file, err)
	}
	var r selfTestReport
	if err := json.Unmarshal(s.Report, &r); err != nil {
		return fmt.Errorf("%s: no report of a self-test: %w", file, err)
	}
	cl := t.client()
	defer cl.Close()
	keys, err := cl.Keys(ctx)
	if err != nil {
		return err
	}
	who, at, err := s.signed(keys)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return t.print(map[string]any{"signed_by": who, "at": at, "passed": r.Passed}, func(w io.Writer) {
		fmt.Fprintf(w, "signed by this device in the presence of %s, %s; %s\n", who, at.Local().Format(time.DateTime), passed(r.Passed))
	})
}

func passed(ok bool) string {
	if ok {
		return "passed"
	}
	return "NOT PASSED"
}

func printSelfTest(w io.Writer, s selfTest, r selfTestReport) {
	printDiagnosis(w, client.Diagnosis{Checks: r.Checks})
	if a := r.Attempt; a != nil {
		printDecision(w, client.Decision{Outcome: a.Outcome, Reasons: a.Reasons, Hints: a.Hints, Factors: a.Factors, TookMs: a.TookMs, Audit: a.Audit})
		if a.Door != "" {
			fmt.Fprintf(w, "  door    %s\n", a.Door)
		}
		if a.Contact != "" {
			fmt.Fprintf(w, "  contact %s\n", a.Contact)
		}
	}
	for _, q := range r.Question {
		fmt.Fprintf(w, "%-10s %s\n", q.Answer, q.Question)
	}
	state := "signed"
	if s.Grant == "" {
		state = "not signed"
	}
	fmt.Fprintf(w, "%s, %s, digest %s\n", passed(r.Passed), state, s.Digest)
}

//go:embed selftest.html
var selfTestPage string

// selfTestHTML is the report as one page of paper.
func selfTestHTML(s selfTest, r selfTestReport) ([]byte, error) {
	page, err := template.New("selftest").Funcs(template.FuncMap{"rate": rate, "value": func(format string, v *float64) string { return fmt.Sprintf(format, *v) }}).Parse(selfTestPage)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, struct {
		selfTest
		R selfTestReport
	}{s, r}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
