package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/store"
)

// drawnDoor is the bench's: a line in the log, and an event of the device.
type drawnDoor struct{ log func(msg string, args ...any) }

// Open draws the door open and, when the time is over or the daemon stops,
// shut.
func (d drawnDoor) Open(ctx context.Context, open time.Duration) error {
	d.log("the door is open", "for", open)
	t := time.AfterFunc(open, func() { d.log("the door is shut") })
	context.AfterFunc(ctx, func() {
		if t.Stop() {
			d.log("the door is shut")
		}
	})
	return nil
}

func (b *backend) Authenticate(ctx context.Context, a client.Attempt) (client.Decision, error) {
	r, err := request(a)
	if err != nil {
		return client.Decision{}, err
	}
	return wireDecision(b.device.Authenticate(ctx, r))
}

func (b *backend) Identify(ctx context.Context, a client.Attempt) (client.Decision, error) {
	r, err := request(a)
	if err != nil {
		return client.Decision{}, err
	}
	return wireDecision(b.device.Identify(ctx, r))
}

func (b *backend) AuthenticatePIN(ctx context.Context, a client.PINAttempt) (client.Decision, error) {
	r, err := request(client.Attempt{User: a.User, Nonce: a.Nonce, Audience: a.Audience})
	if err != nil {
		return client.Decision{}, err
	}
	return wireDecision(b.device.AuthenticatePIN(ctx, r, a.Name, []byte(a.PIN)))
}

func (b *backend) SetPIN(ctx context.Context, user string, p client.NewPIN) error {
	id, err := userID(user)
	if err != nil {
		return err
	}
	return problemOf(b.device.SetPIN(ctx, id, []byte(p.PIN)))
}

func (b *backend) RestoreTemplates(_ context.Context, user string) error {
	id, err := userID(user)
	if err != nil {
		return err
	}
	_, err = b.device.RestoreTemplates(id)
	return problemOf(err)
}

func (b *backend) RemovePIN(_ context.Context, user string) error {
	id, err := userID(user)
	if err != nil {
		return err
	}
	return problemOf(b.device.RemovePIN(id))
}

func request(a client.Attempt) (device.Request, error) {
	r := device.Request{
		Nonce: a.Nonce, Audience: a.Audience, Factors: factors(a.Factors), Timeout: time.Duration(a.TimeoutMs) * time.Millisecond, Scope: device.Enter,
	}
	if a.Audience == client.PairAudience {
		r.Scope = device.Pair
	}
	if a.User == "" {
		return r, nil
	}
	var err error
	r.Who, err = userID(a.User)
	return r, err
}

func factors(names []string) []device.Factor {
	var fs []device.Factor
	for _, n := range names {
		fs = append(fs, device.Factor(n))
	}
	return fs
}

// wireDecision puts how an attempt ended into the types of the wire: a retry
// is an outcome there, a fault an error.
func wireDecision(d device.Decision, err error) (client.Decision, error) {
	w := client.Decision{Outcome: client.Refused, User: string(d.User), Reasons: []string{}, Hints: []string{}, Factors: []client.Factor{}, FMR: 1}
	if retry := (*device.RetryError)(nil); errors.As(err, &retry) {
		w.Outcome, w.Hints = client.Retry, retry.Hints
		return w, nil
	}
	if err != nil {
		return client.Decision{}, problemOf(err)
	}
	if d.Granted {
		w.Outcome, w.Grant = client.Granted, d.Grant
	}
	for _, r := range d.Reasons {
		w.Reasons = append(w.Reasons, string(r))
	}
	for _, r := range d.Results {
		if r.Factor == device.Phone {
			w.Factors = append(w.Factors, client.Factor{Kind: string(r.Factor), Passed: r.Passed, FMR: 1})
			continue
		}
		w.Factors = append(w.Factors, client.Factor{
			Kind: string(r.Factor), Passed: r.Passed, Score: finite(r.Score), FMR: r.FMR,
			Live: liveness(r), Model: r.Model, TookMs: ms(r.Took),
		})
	}
	if !d.LockedUntil.IsZero() {
		until := d.LockedUntil.UTC()
		w.LockedUntil = &until
	}
	w.FMR, w.Failures, w.Audit, w.TookMs = min(d.FMR, 1), d.Failures, d.Audit, ms(d.Took)
	return w, nil
}

func liveness(r device.Result) *float64 {
	if r.Factor != device.Face {
		return nil
	}
	return finite(r.Live)
}

// finite leaves out what JSON cannot say.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func ms(d time.Duration) float64 { return math.Round(d.Seconds()*1e5) / 1e2 }

func (b *backend) Enroll(ctx context.Context, e client.Enrolment) (client.Enrolled, error) {
	return b.enroll(ctx, e, 0)
}

// enroll ends when whoever agreed was not seen for as long as stay says; 0: a
// witness sees to that.
func (b *backend) enroll(ctx context.Context, e client.Enrolment, stay time.Duration) (client.Enrolled, error) {
	r := device.EnrollRequest{
		Name: e.Name, Factors: factors(e.Factors), Finger: e.Finger, Poses: e.Poses, Stay: stay,
		Consent: store.Consent{TextVersion: e.Consent.TextVersion, Language: e.Consent.Language, Witness: e.Consent.Witness},
	}
	if e.Consent.Given {
		r.Consent.At = time.Now()
	}
	if e.User != "" {
		var err error
		if r.Who, err = userID(e.User); err != nil {
			return client.Enrolled{}, err
		}
	}
	made, err := b.device.Enroll(ctx, r)
	if err != nil {
		return client.Enrolled{}, problemOf(err)
	}
	w := client.Enrolled{User: string(made.User), Templates: []client.Template{}, Audit: made.Audit, TookMs: ms(made.Took)}
	for _, t := range made.Templates {
		w.Templates = append(w.Templates, wireTemplate(t))
	}
	if slices.Contains(r.Factors, device.Face) {
		b.checkReach(warnInto(&w.Warnings))
	}
	if slices.Contains(r.Factors, device.Finger) {
		w.Warnings = append(w.Warnings, b.roomWarnings()...)
	}
	w.Signed, err = b.device.Agreement(made, b.config.Keep.policy())
	return w, err
}

func (b *backend) Keys(context.Context) (keys client.Keys, err error) {
	text, err := json.Marshal(b.device.Keys())
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	if err == nil {
		text, err = json.Marshal(b.device.WitnessKey())
	}
	if err == nil {
		err = json.Unmarshal(text, &keys.Witness)
	}
	return keys, err
}

func (b *backend) Events(ctx context.Context) <-chan client.Event {
	out := make(chan client.Event)
	in := b.device.Subscribe(ctx)
	go func() { // ends with the context, which closes in
		defer close(out)
		for e := range in {
			select {
			case out <- wireEvent(e):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func wireEvent(e device.Event) client.Event {
	w := client.Event{
		Seq: e.Seq, At: e.At, Kind: e.Kind, Step: string(e.Step), Done: e.Done, Of: e.Of, Coverage: e.Coverage, Hint: e.Hint,
		User: string(e.User), Outcome: e.Outcome, Detail: e.Detail, Phone: e.Phone, Code: e.Code,
	}
	for _, r := range e.Reasons {
		w.Reasons = append(w.Reasons, string(r))
	}
	return w
}

func (b *backend) Forget(ctx context.Context, user string) (client.Receipt, error) {
	id, err := userID(user)
	if err != nil {
		return client.Receipt{}, err
	}
	r, err := b.device.Forget(ctx, id)
	if err != nil && r.Audit == 0 {
		return client.Receipt{}, problemOf(err)
	}
	b.phones.Forgotten(user)
	w := client.Receipt{
		User: user, At: r.At.UTC(), Templates: r.Templates,
		Compacted: r.Compacted, Searched: r.Searched, KeyMoved: r.KeyMoved, Audit: r.Audit,
	}
	w.Signed, err = b.device.Receipt(r)
	return w, err
}

// plain is an error as people read it, without the package that says it.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "device: ") }

// deviceProblem names what the device says is the caller's doing, or nobody's.
func deviceProblem(err error) error {
	retry := (*device.RetryError)(nil)
	switch {
	case errors.As(err, &retry):
		return api.NewProblem(http.StatusConflict, client.ProblemRetry, "not done: "+plain(retry), "do what the hint says and try again")
	case errors.Is(err, device.ErrBusy):
		return api.NewProblem(http.StatusConflict, client.ProblemBusy, plain(err), "try again when it is done")
	case errors.Is(err, device.ErrUnknown):
		return api.NewProblem(http.StatusNotFound, client.ProblemNotFound, "nobody has that id", "'faceprint people' lists those enrolled")
	case errors.Is(err, device.ErrAccount):
		return api.NewProblem(http.StatusNotFound, client.ProblemNotFound, plain(err), "'faceprint login' lists the accounts, 'faceprint login allow PERSON ACCOUNT' adds one")
	case errors.Is(err, device.ErrNoKeyring):
		return api.NewProblem(http.StatusNotFound, client.ProblemNotFound, plain(err), "'faceprint login keyring ACCOUNT' lets it")
	case errors.Is(err, device.ErrAccountTaken):
		return api.NewProblem(http.StatusConflict, client.ProblemDuplicate, plain(err), "an account is one person's; 'faceprint login revoke ACCOUNT' frees it")
	case errors.Is(err, device.ErrDuplicate):
		return api.NewProblem(http.StatusConflict, client.ProblemDuplicate, plain(err), "'faceprint identify' tells who it is; add to that person, or forget them first")
	case errors.Is(err, device.ErrMixed):
		return api.NewProblem(http.StatusConflict, client.ProblemRetry, plain(err), "let one person stand before the camera and try again; whoever no longer looks like their own template is forgotten and enrolled anew")
	case errors.Is(err, device.ErrReach):
		return api.NewProblem(http.StatusServiceUnavailable, client.ProblemFault, plain(err), "ask people who they are ('faceprint verify'), append a [templates] table to the profile that reaches further, or raise policy.face_fmr; 'faceprint doctor' tells how far it reaches")
	case errors.Is(err, device.ErrTooSlow):
		return api.NewProblem(http.StatusServiceUnavailable, client.ProblemFault, plain(err), "set a smaller camera.width, install ONNX Runtime (face.library, face.engine = \"auto\"), or use a faster device; fingers and PINs do not need it")
	case errors.Is(err, device.ErrReplay):
		return api.NewProblem(http.StatusForbidden, client.ProblemRefused, plain(err), "find out what is plugged in between the camera and this device; 'faceprint audit' has the entry")
	case errors.Is(err, device.ErrLeft):
		return api.NewProblem(http.StatusConflict, client.ProblemLeft, plain(err), "nothing was stored; begin again")
	case errors.Is(err, device.ErrPIN), errors.Is(err, device.ErrName):
		return api.NewProblem(http.StatusUnprocessableEntity, client.ProblemPIN, plain(err), "choose another one")
	case errors.Is(err, device.ErrPINForbidden):
		return api.NewProblem(http.StatusForbidden, client.ProblemPIN, plain(err), "set policy.pin to allow it")
	case errors.Is(err, device.ErrConsent):
		return api.NewProblem(http.StatusUnprocessableEntity, client.ProblemConsent, plain(err), "show the text of /v1/consent and ask")
	case errors.Is(err, device.ErrRequest):
		return api.NewProblem(http.StatusUnprocessableEntity, client.ProblemInvalid, plain(err), "")
	}
	return nil
}
