package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/faceprint/faceprint/device"
	"github.com/faceprint/faceprint/device/api"
	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/device/phone"
	"github.com/faceprint/faceprint/store"
)

// backend answers the API with a device, its vault and its parts.
type backend struct {
	vault   *store.Store
	device  *device.Device
	phones  *phone.Phones
	config  Config
	kiosk   *kioskPage // nil: none
	started time.Time
	parts   func() []client.Part
	finger  *finger
	room    room
	faces   faceCount
}

func (b *backend) Unlock(ctx context.Context, user string) (client.Person, error) {
	id, err := userID(user)
	if err != nil {
		return client.Person{}, err
	}
	if err := b.device.Unlock(id); err != nil {
		return client.Person{}, problemOf(err)
	}
	return b.Person(ctx, user)
}

func (b *backend) Renew(ctx context.Context, user string) (client.Renewed, error) {
	id, err := userID(user)
	if err != nil {
		return client.Renewed{}, err
	}
	n, err := b.device.Renew(ctx, id)
	return client.Renewed{Templates: n}, problemOf(err)
}

// presence is what the API calls it.
var presence = map[device.Presence]string{device.Blind: "blind", device.Nobody: "nobody", device.Somebody: "somebody"}

func (b *backend) Status(context.Context) (client.Status, error) {
	s := client.Status{
		State: "ready", Version: version(), Started: b.started.UTC(), Now: time.Now().UTC(),
		Bench: b.config.Bench.Enabled, Present: presence[b.device.Presence()], Busy: b.device.Busy(), Parts: b.parts(),
	}
	b.warnOfReach(s.Parts)
	for _, p := range s.Parts {
		if p.State == "missing" || p.State == "degraded" {
			s.State = "degraded"
		}
	}
	err := b.vault.View(func(tx *store.Tx) error {
		users, err := tx.Users()
		if err != nil {
			return err
		}
		s.People = len(users)
		if s.Audit, _, err = tx.AuditHead(); err != nil {
			return err
		}
		l, err := tx.Lockout("")
		s.Locked = b.lockedUntil(l)
		return err
	})
	if err != nil {
		return s, err
	}
	return s, b.warnOfRoom(s.Parts)
}

// TrustModule sets the finger module up anew: whatever is there now is the
// right one. The status tells what came of it.
func (b *backend) TrustModule(ctx context.Context) (client.Status, error) {
	if err := b.finger.trust.anew(); err != nil {
		return client.Status{}, err
	}
	b.finger.part.reopen(fmt.Errorf("%w, to be set up anew", errOpening))
	b.finger.part.settle(ctx)
	return b.Status(ctx)
}

func storeStatus(v *store.Store) client.Part {
	return client.Part{Name: "store", State: "ok", Detail: v.Path() + "; " + v.Key()}
}

func (b *backend) People(context.Context) (all client.People, err error) {
	all.People = []client.Person{}
	err = b.vault.View(func(tx *store.Tx) error {
		people, err := tx.People()
		if err != nil {
			return err
		}
		for _, p := range people {
			w, err := b.wirePerson(tx, p)
			if err != nil {
				return err
			}
			all.People = append(all.People, w)
		}
		return nil
	})
	for i := range all.People {
		if err == nil {
			all.People[i].PIN, err = b.device.HasPIN(store.UserID(all.People[i].User))
		}
	}
	return all, err
}

func (b *backend) Person(_ context.Context, user string) (w client.Person, err error) {
	id, err := userID(user)
	if err != nil {
		return w, err
	}
	err = b.vault.View(func(tx *store.Tx) error {
		p, err := tx.Person(id)
		if err != nil {
			return err
		}
		w, err = b.wirePerson(tx, p)
		return err
	})
	if err == nil {
		w.PIN, err = b.device.HasPIN(id)
	}
	return w, problemOf(err)
}

func (b *backend) wirePerson(tx *store.Tx, p store.Person) (client.Person, error) {
	w := client.Person{
		User: string(p.ID), Name: p.Name, Created: p.Created.UTC(), Templates: []client.Template{},
		Consent: wireConsent(p.Consent),
	}
	l, err := tx.Lockout(p.ID)
	if err != nil {
		return w, err
	}
	w.Failures, w.LockedUntil, w.Disabled = l.Failures, b.lockedUntil(l), l.Disabled
	templates, err := tx.TemplatesOf(p.ID, 0)
	if err != nil {
		return w, err
	}
	for _, t := range templates {
		w.Templates = append(w.Templates, wireTemplate(t))
		t.Wipe()
	}
	return w, nil
}

func (b *backend) Report(_ context.Context, user string) (client.Report, error) {
	id, err := userID(user)
	if err != nil {
		return client.Report{}, err
	}
	return b.report(id)
}

func (b *backend) OwnReport(ctx context.Context, a client.Attempt) (w client.OwnReport, err error) {
	if a.User == "" {
		w.Decision, err = b.Identify(ctx, a)
	} else {
		w.Decision, err = b.Authenticate(ctx, a)
	}
	if err != nil || w.Decision.Outcome != client.Granted {
		return w, err
	}
	r, err := b.report(store.UserID(w.Decision.User))
	w.Report = &r
	return w, err
}

func (b *backend) report(id store.UserID) (w client.Report, err error) {
	w = client.Report{Earlier: []client.Consented{}, Records: []client.RecordCount{}, Events: []client.Entry{}}
	err = b.vault.View(func(tx *store.Tx) error {
		p, err := tx.Person(id)
		if err != nil {
			return err
		}
		if w.Person, err = b.wirePerson(tx, p); err != nil {
			return err
		}
		for _, c := range p.Earlier {
			w.Earlier = append(w.Earlier, wireConsent(c))
		}
		ends, anyway := b.config.Keep.policy().Due(p, time.Now())
		w.LastUsed, w.Ends, w.EndsAnyway = moment(p.LastUsed), moment(ends), anyway
		counts, err := tx.CountRecords(id)
		if err != nil {
			return err
		}
		for _, kind := range slices.Sorted(maps.Keys(counts)) {
			w.Records = append(w.Records, client.RecordCount{Kind: kind, Count: counts[kind]})
		}
		base, err := tx.Base()
		if err != nil {
			return err
		}
		for after := base.Seq; ; {
			entries, err := tx.Audit(after, 1000)
			if err != nil || len(entries) == 0 {
				return err
			}
			for _, e := range entries {
				if e.User == id {
					w.Events = append(w.Events, wireEntry(e))
				}
				after = e.Seq
			}
		}
	})
	return w, problemOf(err)
}

// moment is nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func wireConsent(c store.Consent) client.Consented {
	return client.Consented{At: c.At.UTC(), TextVersion: c.TextVersion, Language: c.Language, Witness: c.Witness}
}

func (b *backend) Checkpoint(context.Context) (w client.Checkpoint, err error) {
	c := store.Checkpoint{At: time.Now().UTC()}
	if err := b.vault.View(func(tx *store.Tx) (err error) { c.Seq, c.Hash, err = tx.AuditHead(); return err }); err != nil {
		return w, err
	}
	c.Signed, err = b.device.Checkpoint(c)
	return wireCheckpoint(c), err
}

func (b *backend) Backup(_ context.Context, k client.BackupKeys) (api.Backup, error) {
	keys := store.BackupKeys{Operator: k.Operator, Recovery: k.Recovery}
	if err := keys.Check(); err != nil {
		return nil, problemOf(err)
	}
	whom := recipients(keys)
	for _, key := range keys.Recovery { // whoever has it can read every template
		if !slices.Contains(b.config.Store.Recovery, key) {
			if err := b.noteBackup("refused", append(whom, "not-the-owners-recovery-key")); err != nil {
				return nil, err
			}
			return nil, api.NewProblem(http.StatusForbidden, client.ProblemForbidden, key+" is not the recovery key of the device's owner",
				"the owner names theirs in the configuration, store.recovery")
		}
	}
	if err := b.noteBackup("begun", whom); err != nil {
		return nil, err
	}
	made, err := b.vault.Backup(keys, time.Now())
	if err != nil {
		why := "fault"
		switch {
		case errors.Is(err, store.ErrInUse):
			why = "busy"
		case errors.Is(err, store.ErrSpace):
			why = "no-space"
		}
		if err := b.noteBackup("refused", append(whom, why)); err != nil {
			return nil, err
		}
		return nil, problemOf(err)
	}
	return &handedOut{Backup: made, end: func(outcome string) error { return b.noteBackup(outcome, whom) }}, nil
}

func (b *backend) noteBackup(outcome string, reasons []string) error {
	return b.vault.Update(func(tx *store.Tx) error {
		_, err := tx.Append(store.Entry{At: time.Now(), Kind: "backup", Outcome: outcome, Reasons: reasons})
		return err
	})
}

// recipients names who can open a backup, as the audit chain has them: a key as
// it is, a longer one by its SHA-256.
func recipients(k store.BackupKeys) (names []string) {
	for what, keys := range map[string][]string{"to": k.Operator, "recovery": k.Recovery} {
		for _, key := range keys {
			if len(key) > 64 {
				sum := sha256.Sum256([]byte(key))
				key = "sha256:" + hex.EncodeToString(sum[:])
			}
			names = append(names, what+":"+key)
		}
	}
	slices.Sort(names)
	slices.Reverse(names) // to whom it is first
	return names
}

// handedOut is a backup whose end is recorded: all of it was taken, or it was
// cut off.
type handedOut struct {
	*store.Backup
	whole bool
	end   func(outcome string) error
}

func (h *handedOut) Read(p []byte) (int, error) {
	n, err := h.Backup.Read(p)
	h.whole = h.whole || errors.Is(err, io.EOF)
	return n, err
}

// Close comes when the reader has taken, or left, what was read.
func (h *handedOut) Close() error {
	outcome := "cut-off"
	if h.whole {
		outcome = "done"
	}
	return errors.Join(h.Backup.Close(), h.end(outcome))
}

func wireCheckpoint(c store.Checkpoint) client.Checkpoint {
	return client.Checkpoint{Seq: c.Seq, Hash: c.Hash.String(), At: c.At.UTC(), Signed: c.Signed}
}

func wireEntry(e store.Entry) client.Entry {
	w := client.Entry{Seq: e.Seq, At: e.At.UTC(), Kind: e.Kind, User: string(e.User), Outcome: e.Outcome, Reasons: e.Reasons, Scores: e.Scores, Times: e.Times, Prev: e.Prev.String()}
	if w.Reasons == nil {
		w.Reasons = []string{}
	}
	return w
}

func wireTemplate(t store.Template) client.Template {
	return client.Template{ID: t.ID, Kind: t.Kind.String(), Model: t.Model, Label: t.Label, Created: t.Created.UTC(), Bytes: len(t.Data)}
}

// lockedUntil is nil when the lock-out is over.
func (b *backend) lockedUntil(l store.Lockout) *time.Time {
	left := b.device.Wait(l)
	if left == 0 {
		return nil
	}
	until := time.Now().Add(left).UTC()
	return &until
}

func (b *backend) Audit(_ context.Context, after uint64, limit int) (page client.AuditPage, err error) {
	page.Entries = []client.Entry{}
	err = b.vault.View(func(tx *store.Tx) error {
		entries, err := tx.Audit(after, limit)
		if err != nil {
			return err
		}
		for _, e := range entries {
			page.Entries = append(page.Entries, wireEntry(e))
		}
		base, err := tx.Base()
		if err != nil {
			return err
		}
		if base.Seq > 0 {
			c := wireCheckpoint(base)
			page.Base = &c
		}
		seq, head, err := tx.AuditHead()
		if err != nil {
			return err
		}
		page.Total, page.Head, page.Verified = seq, head.String(), true
		if err := tx.VerifyAuditEnd(); err != nil {
			page.Verified, page.Problem = false, err.Error()
		}
		return nil
	})
	return page, err
}

func (b *backend) Config(context.Context) (client.Config, error) {
	text, err := b.config.effective()
	return client.Config{TOML: text, File: b.config.file}, err
}

func userID(s string) (store.UserID, error) {
	id, err := store.ParseUserID(s)
	if err != nil {
		return "", api.NewProblem(http.StatusNotFound, client.ProblemNotFound, "nobody has the id "+s, "'faceprint people' lists those enrolled")
	}
	return id, nil
}

// problemOf gives the errors that are the caller's doing their names; others
// stay faults.
func problemOf(err error) error {
	if p := deviceProblem(err); p != nil {
		return p
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return api.NewProblem(http.StatusNotFound, client.ProblemNotFound, "nobody has that id", "'faceprint people' lists those enrolled")
	case errors.Is(err, store.ErrExists):
		return api.NewProblem(http.StatusConflict, client.ProblemDuplicate, err.Error(), "")
	case errors.Is(err, store.ErrInUse):
		return api.NewProblem(http.StatusConflict, client.ProblemBusy, err.Error(), "try again when it is done")
	case errors.Is(err, store.ErrSpace):
		return api.NewProblem(http.StatusInsufficientStorage, client.ProblemFault, err.Error(), "make room beside the vault and try again")
	case errors.Is(err, store.ErrNoConsent):
		return api.NewProblem(http.StatusUnprocessableEntity, client.ProblemConsent, err.Error(), "")
	case errors.Is(err, store.ErrInvalid):
		return api.NewProblem(http.StatusUnprocessableEntity, client.ProblemInvalid, err.Error(), "")
	}
	return err
}
