package kiosk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api/client"
)

// tokenHeader carries the page's token. A header of its own cannot be sent by
// another site without being asked for, which is refused.
const tokenHeader = "X-Faceprint-Page"

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /web/{file...}", s.file)
	mux.HandleFunc("GET /stream", s.stream)
	mux.HandleFunc("GET /preview", s.inUse(s.preview))
	mux.HandleFunc("GET /state", s.inUse(answer(s.state)))
	mux.HandleFunc("GET /consent", s.inUse(answer(s.consent)))
	mux.HandleFunc("POST /consent", s.inUse(answer(s.agree)))
	mux.HandleFunc("POST /identify", s.inUse(answer(s.identify)))
	mux.HandleFunc("POST /pin", s.inUse(answer(s.pin)))
	mux.HandleFunc("PUT /own-pin", s.inUse(answer(s.setPIN)))
	mux.HandleFunc("GET /login/{id}", s.inUse(s.login))
	mux.HandleFunc("POST /signed-out", s.inUse(answer(s.signedOut)))
	mux.HandleFunc("POST /enrol", s.inUse(answer(s.enrol)))
	mux.HandleFunc("POST /code", s.inUse(answer(s.redeem)))
	mux.HandleFunc("POST /leave", s.inUse(answer(s.leave)))
	mux.HandleFunc("GET /history", s.inUse(answer(s.history)))
	mux.HandleFunc("POST /forget", s.inUse(answer(s.forget)))
	mux.HandleFunc("POST /phone", s.inUse(answer(s.withPhone)))
	mux.HandleFunc("POST /phone/begin", s.inUse(answer(s.begin)))
	mux.HandleFunc("GET /phones", s.inUse(answer(s.ownPhones)))
	mux.HandleFunc("POST /phones", s.inUse(answer(s.pair)))
	mux.HandleFunc("POST /phones/hide", s.inUse(answer(s.hide)))
	mux.HandleFunc("POST /phones/confirm", s.inUse(answer(s.confirm)))
	mux.HandleFunc("POST /phones/revoke", s.inUse(answer(s.revokePhone)))
	mux.HandleFunc("GET /technician", s.inUse(answer(s.technician)))
	mux.HandleFunc("POST /selftest", s.inUse(answer(s.selfTest)))
	if s.opts.Logins != nil {
		mux.Handle("/oidc/", http.StripPrefix("/oidc", s.opts.Logins))
	}
	return s.checked(mux)
}

// problem is a no of the kiosk's own, as RFC 9457 has it.
type problem struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

func (p problem) Error() string { return p.Detail }

// GetStatus is the HTTP status, as the backend's own problems tell it.
func (p problem) GetStatus() int { return p.Status }

// fail answers with a problem: the kiosk's own, the backend's, or a fault.
func (s *Server) fail(w http.ResponseWriter, err error) {
	var p interface {
		error
		GetStatus() int
	}
	if !errors.As(err, &p) {
		s.log.Error("fault at the kiosk", "err", err)
		p = problem{http.StatusServiceUnavailable, client.ProblemFault, err.Error(), ""}
	}
	own, ok := p.(problem)
	if ok {
		own.Type = client.ProblemPrefix + own.Type
		p = own
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.GetStatus())
	_ = json.NewEncoder(w).Encode(p) // the page may have left
}

// onPage answers a request of the page in use.
type onPage func(w http.ResponseWriter, r *http.Request, p *page) error

// inUse calls the handler for the page in use; what it does ends with the page.
func (s *Server) inUse(h onPage) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.pages.get(r.Header.Get(tokenHeader))
		if err == nil {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(p.ctx, cancel)()
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			err = h(w, r.WithContext(ctx), p)
		}
		if err != nil && r.Context().Err() == nil {
			s.fail(w, err)
		}
	}
}

// answer makes a handler of a function from a JSON body to a JSON answer. A GET
// has no body.
func answer[I, O any](f func(ctx context.Context, p *page, in I) (O, error)) onPage {
	return func(w http.ResponseWriter, r *http.Request, p *page) error {
		var in I
		if r.Method != http.MethodGet {
			d := json.NewDecoder(r.Body)
			d.DisallowUnknownFields()
			if err := d.Decode(&in); err != nil || d.More() {
				return problem{http.StatusUnprocessableEntity, client.ProblemInvalid, "the request is not what the kiosk understands", "load the page again"}
			}
		}
		out, err := f(r.Context(), p, in)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(out)
	}
}

type none struct{}

// stream puts the page in use and tells it what happens, one JSON object a
// line, until it leaves or another page takes over.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	p, err := s.pages.take(r.Context(), r.Header.Get(tokenHeader))
	if err != nil {
		s.fail(w, err)
		return
	}
	defer p.end()
	defer p.leave()
	events := s.back.Events(p.ctx)
	w.Header().Set("Content-Type", "application/x-ndjson")
	line, flush := json.NewEncoder(w), http.NewResponseController(w)
	defer func() { _ = flush.SetWriteDeadline(time.Time{}) }() // the connection may serve on
	told := func(e client.Event) bool {
		_ = flush.SetWriteDeadline(time.Now().Add(aliveEvery)) // a page that does not read is none
		return line.Encode(e) == nil && flush.Flush() == nil
	}
	sign, signedOut := client.Event{Kind: "alive"}, client.Event{Kind: "signed-out"} // the latter: the code for a phone is over
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	away := time.NewTimer(codeAway)
	away.Stop()
	defer away.Stop()
	next, last := client.Event{Kind: "hello"}, uint64(0)
	if s.opts.Present != nil && s.opts.Present() {
		next.Outcome = "came"
	}
	if s.opts.Lamp != nil { // read after the events were subscribed to: none is missed
		if line.Encode(next) != nil {
			return
		}
		next = client.Event{Kind: "lamp", Step: "finger", Outcome: s.opts.Lamp()}
	}
	for {
		if !told(next) {
			return
		}
		var open bool
		select {
		case next, open = <-events:
			if !open {
				if r.Context().Err() == nil {
					_ = line.Encode(client.Event{Kind: "elsewhere"})
				}
				return
			}
			if last != 0 && next.Seq > last+1 {
				return // it was too slow, and what it missed may be that they left: it begins anew
			}
			last = next.Seq
			if next.Kind == "presence" && next.Outcome != "came" && next.Outcome != "nobody" {
				p.gone() // before what it would be signed in to is ended
			}
			if next.Kind == "presence" && next.Outcome != "came" && s.opts.Logins != nil {
				s.opts.Logins.Leave() // before the page asks what that ended
			}
			switch {
			case next.Kind == "forgotten" && p.is(next.User):
				p.leave() // what they did themselves, the page shows as they did it
			case next.Kind == "phone-paired":
				user, phone := next.User, next.Phone
				var shown, unseen bool
				next, shown, unseen = p.pairedEvent(next, s.opts.Now())
				switch {
				case unseen:
					s.opts.Phones.Doubt(phone)
					p.doubts(&doubt{user, phone, func() { s.revoke(phone) }})
					away.Reset(doubtFor)
					next.Hint = hintLookAgain
				case shown:
					if err := s.opts.Phones.Keep(phone); err != nil {
						s.log.Error("a phone that was paired at the kiosk", "phone", phone, "err", err)
					}
				}
				continue
			case next.Kind != "presence":
			case next.Outcome == "came":
				// Whoever is seen now may be another than the code is for.
				if p.orphaned() && p.leave() && !told(signedOut) {
					return
				}
			case next.Outcome == "nobody" && !p.holds():
				// It was about somebody whom this page knows nothing of.
			case next.Detail != device.Replaced && p.leaveCode():
				next.Outcome = "left"
				away.Reset(codeAway)
			default: // and whoever is next is somebody else
				if p.leave() && !told(signedOut) {
					return
				}
				next.Outcome = "left" // also of who was never seen
			}
			// Who it is, is told in the answer to the page's own request.
			next.User, next.Detail = "", ""
		case <-away.C:
			next = sign
			if d := p.settle(); d != nil || p.orphaned() { // it may have been used, or somebody else's visit have begun
				d.end()
				p.leave()
				next = signedOut
			}
		case <-p.knocks:
			if next = (client.Event{Kind: "knock"}); !p.asked() {
				next.Outcome = "over"
			}
		case <-alive.C:
			next = sign
		}
	}
}

func (s *Server) preview(w http.ResponseWriter, r *http.Request, _ *page) error {
	if s.opts.Picture == nil {
		return problem{http.StatusNotFound, "no-preview", "this device shows no preview", ""}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := s.frames.stream(r.Context(), w); err != nil && r.Context().Err() == nil {
		s.log.Debug("the preview ended", "err", err)
	}
	return nil
}

// state is what the page shows before anybody did anything.
type state struct {
	Now         time.Time  `json:"now"`
	Version     string     `json:"version"`
	Bench       bool       `json:"bench"`
	Factors     []string   `json:"factors"` // that the policy wants
	PIN         bool       `json:"pin"`     // it takes one
	Phone       bool       `json:"phone"`   // phones may take part
	Enrol       Enrolling  `json:"enrol"`
	Preview     bool       `json:"preview"`
	Mirror      bool       `json:"mirror"`
	Permitted   bool       `json:"permitted"` // to enrol and to look at the technician's view
	Busy        bool       `json:"busy"`
	People      bool       `json:"people"` // whether anybody is enrolled
	Missing     []string   `json:"missing"`
	LockedUntil *time.Time `json:"locked_until,omitempty"` // the whole device
}

func (s *Server) state(ctx context.Context, p *page, _ none) (state, error) {
	st, err := s.back.Status(ctx)
	if err != nil {
		return state{}, err
	}
	now := s.opts.Now()
	out := state{
		Now: now.UTC(), Version: s.opts.Version, Bench: s.opts.Bench, Factors: s.opts.Factors, PIN: s.opts.PIN, Phone: s.opts.Phones != nil, Enrol: s.opts.Enrol,
		Preview: s.opts.Picture != nil, Mirror: s.opts.Mirror, Permitted: p.permitted(now), Busy: st.Busy,
		People: st.People > 0, Missing: []string{}, LockedUntil: st.Locked,
	}
	for _, part := range st.Parts {
		if part.State == "missing" {
			out.Missing = append(out.Missing, part.Name)
		}
	}
	return out, nil
}

// outcome is how an attempt ended, for the page.
type outcome struct {
	Outcome     client.Outcome `json:"outcome"`
	Name        string         `json:"name,omitempty"` // as the person wants to be called
	PIN         bool           `json:"pin,omitempty"`  // whether they have one
	Next        string         `json:"next,omitempty"` // where the application that asked waits
	Reasons     []string       `json:"reasons"`
	Hints       []string       `json:"hints"`
	LockedUntil *time.Time     `json:"locked_until,omitempty"`
	Now         time.Time      `json:"now"` // to count down by
	TookMs      float64        `json:"took_ms"`
}

// wait lets one attempt of the page go on at a time: one that another page, or
// a cancelled request, had under way ends first.
func (s *Server) wait(ctx context.Context) (done func(), err error) {
	select {
	case <-s.turn:
		return func() { s.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// asked is a login that an application waits for.
type asked struct {
	App     string `json:"app"`
	Decline string `json:"decline"` // where to go when nobody will be recognised
}

func (s *Server) login(w http.ResponseWriter, r *http.Request, p *page) error {
	id := r.PathValue("id")
	return answer(func(context.Context, *page, none) (asked, error) {
		if s.opts.Logins == nil {
			return asked{}, errNoLogin
		}
		app, err := s.opts.Logins.Asked(id)
		if err != nil {
			return asked{}, errNoLogin
		}
		return asked{app, s.opts.Logins.Decline(id)}, nil
	})(w, r, p)
}

// signedOut hands the page the addresses of applications that somebody who left
// was signed in to, for it to load.
func (s *Server) signedOut(context.Context, *page, none) ([]string, error) {
	if s.opts.Logins == nil {
		return nil, nil
	}
	return s.opts.Logins.SignedOut(), nil
}

var errNoLogin = problem{http.StatusNotFound, "no-login", "no application waits for an answer any more", "open the application again"}

// forLogin names the login that an attempt is for; none is the empty one.
type forLogin struct {
	Login string `json:"login,omitempty"`
}

func (s *Server) identify(ctx context.Context, p *page, in forLogin) (outcome, error) {
	done, err := s.wait(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer done()
	p.leave()
	defer p.looking()()
	d, err := s.back.Identify(ctx, client.Attempt{Audience: Audience, Nonce: in.Login})
	return s.decided(ctx, p, in.Login, d, err)
}

type pinAttempt struct {
	forLogin
	Name string `json:"name"`
	PIN  string `json:"pin"`
}

// pin waits for no sensor, nor for an attempt that has not ended yet.
func (s *Server) pin(ctx context.Context, p *page, in pinAttempt) (outcome, error) {
	p.signOut()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	p.typed(end)
	d, err := s.back.AuthenticatePIN(ctx, client.PINAttempt{Name: in.Name, PIN: in.PIN, Audience: Audience, Nonce: in.Login})
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	return s.decided(ctx, p, in.Login, d, err)
}

// setPIN gives whoever is recognised on the page a PIN, or with an empty one
// takes it away.
func (s *Server) setPIN(ctx context.Context, p *page, in client.NewPIN) (none, error) {
	who, ok := p.signedIn(s.opts.Now())
	if !ok {
		return none{}, errSignedOut
	}
	if in.PIN == "" {
		return none{}, s.back.RemovePIN(ctx, who.User)
	}
	return none{}, s.back.SetPIN(ctx, who.User, in)
}

// Audience of the grants that the kiosk asks for.
const Audience = "kiosk"

// decided signs the person in on the page where the device said yes, and hands
// the grant to the login that it was for. Where the attempt ended meanwhile it
// does neither.
func (s *Server) decided(ctx context.Context, p *page, login string, d client.Decision, err error) (outcome, error) {
	if err != nil {
		return outcome{}, err
	}
	now := s.opts.Now()
	out := outcome{Outcome: d.Outcome, Reasons: d.Reasons, Hints: d.Hints, LockedUntil: d.LockedUntil, Now: now.UTC(), TookMs: d.TookMs}
	if d.Outcome == client.Granted {
		who, err := s.back.Person(ctx, d.User)
		if err != nil {
			return outcome{}, err
		}
		out.Name, out.PIN = who.Name, who.PIN
		err = p.signIn(ctx, who, now.Add(signedIn), func() (err error) {
			if s.opts.Logins != nil {
				s.opts.Logins.Stands(who.User)
			}
			if login == "" {
				return nil
			}
			if s.opts.Logins == nil {
				return errNoLogin
			}
			if out.Next, err = s.opts.Logins.Answer(login, d.Grant); err != nil {
				return errNoLogin
			}
			return nil
		})
		if err != nil {
			return outcome{}, err
		}
	}
	return out, nil
}

// consentText is what is shown before an enrolment.
type consentText struct {
	Version  string `json:"version"`
	Language string `json:"language"`
	Text     string `json:"text"`
}

// consent returns the texts in every language there is; the page shows one.
func (s *Server) consent(context.Context, *page, none) (map[string]consentText, error) {
	texts := make(map[string]consentText)
	for _, c := range device.ConsentTexts() {
		texts[c.Language] = consentText(c)
	}
	return texts, nil
}

// consent is the text that somebody agreed to.
type consent struct {
	Version  string `json:"version"`
	Language string `json:"language"`
}

// agree takes the consent of who is there. It is kept here and not by the page,
// and ends when they leave: nobody is ever enrolled on somebody else's.
func (s *Server) agree(_ context.Context, p *page, in consent) (none, error) {
	if err := s.mayEnrol(p); err != nil {
		return none{}, err
	}
	if !slices.ContainsFunc(device.ConsentTexts(), func(c device.ConsentText) bool {
		return c.Version == in.Version && c.Language == in.Language
	}) {
		return none{}, problem{http.StatusUnprocessableEntity, client.ProblemConsent, "that is not the text that people agree to here", "load the page again"}
	}
	// Whoever is enrolled is not whoever was recognised.
	p.signOut()
	if s.opts.Logins != nil {
		s.opts.Logins.Leave()
	}
	p.agree(in)
	return none{}, nil
}

type enrolment struct {
	Name    string   `json:"name"`
	Factors []string `json:"factors"`
	Finger  string   `json:"finger"`
}

// enrolled is the receipt: what is kept, since when, and where it is recorded.
type enrolled struct {
	Name      string            `json:"name"`
	At        time.Time         `json:"at"`
	Templates []client.Template `json:"templates"`
	Consent   string            `json:"consent"` // version of the text
	Audit     uint64            `json:"audit"`
}

var errNotPermitted = problem{http.StatusForbidden, "not-permitted", "this needs a code of an administrator", "'faceprint kiosk code' makes one"}

// mayEnrol is an error where nobody may be enrolled on this page.
func (s *Server) mayEnrol(p *page) error {
	switch {
	case s.opts.Enrol == EnrolOpen, s.opts.Enrol == EnrolCode && p.permitted(s.opts.Now()):
		return nil
	case s.opts.Enrol == EnrolCode:
		return errNotPermitted
	}
	return problem{http.StatusForbidden, "not-permitted", "nobody is enrolled at this kiosk", "ask whoever runs this device"}
}

func (s *Server) enrol(ctx context.Context, p *page, in enrolment) (enrolled, error) {
	if err := s.mayEnrol(p); err != nil {
		return enrolled{}, err
	}
	done, err := s.wait(ctx)
	if err != nil {
		return enrolled{}, err
	}
	defer done()
	agreed, ok := p.consented()
	if !ok {
		return enrolled{}, problem{http.StatusConflict, client.ProblemLeft, "nobody who is there agreed to be enrolled, so nothing was captured", "begin again"}
	}
	p.signOut()
	made, err := s.back.Enroll(ctx, client.Enrolment{
		Name: in.Name, Factors: in.Factors, Finger: in.Finger, Poses: true,
		Consent: client.Consent{Given: true, TextVersion: agreed.Version, Language: agreed.Language, Witness: "kiosk"},
	})
	if errors.Is(err, device.ErrLeft) {
		p.leave()
	}
	if err != nil {
		return enrolled{}, err
	}
	p.agree(consent{}) // it was for one enrolment
	who, err := s.back.Person(ctx, made.User)
	if err != nil {
		return enrolled{}, err
	}
	return enrolled{Name: who.Name, At: who.Created, Templates: made.Templates, Consent: who.Consent.TextVersion, Audit: made.Audit}, nil
}

type code struct {
	Code string `json:"code"`
}

func (s *Server) redeem(_ context.Context, p *page, in code) (none, error) {
	if !s.codes.redeem(in.Code) {
		return none{}, problem{http.StatusForbidden, "wrong-code", "that code is wrong or over", "ask for a new one; it is good for ten minutes and three tries"}
	}
	p.allow(s.opts.Now().Add(permitFor))
	return none{}, nil
}

func (s *Server) leave(_ context.Context, p *page, _ none) (none, error) {
	p.gone()
	p.leave()
	return none{}, nil
}

var errSignedOut = problem{http.StatusUnauthorized, "signed-out", "you are not recognised any more", "look and touch again"}

// visit is one line of a person's own history.
type visit struct {
	Seq     uint64    `json:"seq"`
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Outcome string    `json:"outcome"`
	Reasons []string  `json:"reasons"`
	Times   int       `json:"times,omitempty"` // how many attempts it stands for; 0 = one
}

// history is what the device recorded about whoever is recognised on the page,
// the newest first.
func (s *Server) history(ctx context.Context, p *page, _ none) ([]visit, error) {
	who, ok := p.signedIn(s.opts.Now())
	if !ok {
		return nil, errSignedOut
	}
	st, err := s.back.Status(ctx)
	if err != nil {
		return nil, err
	}
	own := []visit{}
	for end := st.Audit; end > 0 && len(own) < historyLength && st.Audit-end < historyDepth; {
		start := end - min(end, historyStride)
		part, err := s.back.Audit(ctx, start, int(end-start))
		if err != nil {
			return nil, err
		}
		for _, e := range slices.Backward(part.Entries) {
			if e.User == who.User && len(own) < historyLength {
				own = append(own, visit{e.Seq, e.At, e.Kind, e.Outcome, e.Reasons, e.Times})
			}
		}
		end = start
	}
	return own, nil
}

// forgotten is the receipt of an erasure.
type forgotten struct {
	At        time.Time `json:"at"`
	Templates int       `json:"templates"`
	Finished  bool      `json:"finished"` // nothing of it is left to do
	Audit     uint64    `json:"audit"`
}

func (s *Server) forget(ctx context.Context, p *page, _ none) (forgotten, error) {
	who, ok := p.signedIn(s.opts.Now())
	if !ok {
		return forgotten{}, errSignedOut
	}
	r, err := s.back.Forget(ctx, who.User)
	if err != nil {
		return forgotten{}, err
	}
	p.leave()
	return forgotten{r.At, r.Templates, r.Compacted && r.Searched, r.Audit}, nil
}

// technicianView is how the device is.
type technicianView struct {
	Status client.Status  `json:"status"`
	Checks []client.Check `json:"checks"`
}

func (s *Server) technician(ctx context.Context, p *page, _ none) (technicianView, error) {
	if !p.permitted(s.opts.Now()) {
		return technicianView{}, errNotPermitted
	}
	st, err := s.back.Status(ctx)
	if err != nil {
		return technicianView{}, err
	}
	d, err := s.back.Diagnose(ctx)
	if err != nil {
		return technicianView{}, err
	}
	return technicianView{st, d.Checks}, nil
}

// selfTested is what the device measured of a real attempt, of whoever is there.
type selfTested struct {
	Outcome client.Outcome  `json:"outcome"`
	Reasons []string        `json:"reasons"`
	Hints   []string        `json:"hints"`
	Factors []client.Factor `json:"factors"`
	TookMs  float64         `json:"took_ms"`
	Checks  []client.Check  `json:"checks"`
}

// selfTest examines the device and has it recognise somebody, lock and all, for
// the technician: what was measured is shown, and not whose it was.
func (s *Server) selfTest(ctx context.Context, p *page, _ none) (selfTested, error) {
	if !p.permitted(s.opts.Now()) {
		return selfTested{}, errNotPermitted
	}
	done, err := s.wait(ctx)
	if err != nil {
		return selfTested{}, err
	}
	defer done()
	checked, err := s.back.Diagnose(ctx)
	if err != nil {
		return selfTested{}, err
	}
	d, err := s.back.Identify(ctx, client.Attempt{Audience: "selftest"})
	if err != nil {
		return selfTested{}, err
	}
	return selfTested{d.Outcome, d.Reasons, d.Hints, d.Factors, d.TookMs, checked.Checks}, nil
}

// index answers with the page and a token of its own.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := s.files.page.Execute(w, struct{ Token string }{s.pages.issue()}); err != nil {
		s.log.Debug("the page could not be written", "err", err)
	}
}

func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	f, ok := s.files.byName[r.PathValue("file")]
	if !ok {
		s.fail(w, problem{http.StatusNotFound, client.ProblemNotFound, fmt.Sprintf("there is no file %.60q", r.PathValue("file")), ""})
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "no-cache") // but asked about by its hash
	w.Header().Set("ETag", f.tag)
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = io.WriteString(w, f.text)
}
