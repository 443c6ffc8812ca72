package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/ridge"
	"github.com/faceprint/faceprint/store"
)

// known is what the vault keeps of the fingerprint module: who it is, and the
// decoys that tell whether it lies. It is sealed: a module that knew its decoys
// would pass.
type known struct {
	Info   sensor.Info
	Decoys sensor.Decoys
	Rates  sensor.Rates
	// Attack is why the module is not trusted any more, nil while it is.
	Attack *sensor.AttackError `json:",omitempty"`
}

// knownName is the name of that secret in the vault.
const knownName = "finger-module"

// decoyCount is how many decoys are made for a module, at its first opening: two or
// three of four stand beside each template, others beside another, and the last is
// what overwrites the buffer. At 115200 baud each takes an R503 2.6 s, most of it for
// the picture; on the bench, where people wait for the first round, benchDecoys.
//
// A module of which decoyTries pictures came to nothing takes none.
const (
	decoyTries  = 3
	decoyCount  = 5
	benchDecoys = sensor.MinDecoys + 1
)

// trust decides whether a module is the one that was set up.
type trust struct {
	vault  *store.Store
	log    *slog.Logger
	decoys int // to make for a module that is set up
	doubts *sensor.Doubts
	spoilt *sync.Map // names of templates that the log tells of already
	// accuse counts and reports an attack that no attempt came upon, which is entry number
	// audit of the chain.
	accuse func(attack *sensor.AttackError, audit uint64)
}

// refusedError is why a module that was caught before is not used. It is a part that is
// not there, and no *sensor.AttackError: what was caught counted then, and whoever asks for
// the module now has done nothing, and learns nothing.
type refusedError struct{ attack *sensor.AttackError }

func (e *refusedError) Error() string {
	return fmt.Sprintf("the module was refused, and a technician must trust it before it is used: %s: %s", e.attack.Kind, e.attack.Detail)
}

// load returns nil where no module was set up yet.
func (t trust) load() (*known, error) {
	var text []byte
	err := t.vault.View(func(tx *store.Tx) (err error) {
		text, err = tx.Secret(knownName)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer clear(text)
	k := new(known)
	if len(text) == 0 {
		return nil, nil // forgotten by anew
	}
	if err := json.Unmarshal(text, k); err != nil {
		return nil, fmt.Errorf("finger module: %w", err)
	}
	return k, nil
}

// save seals what is known, nil for nothing, and records why, in entry number audit.
func (t trust) save(k *known, e store.Entry) (audit uint64, err error) {
	var text []byte
	if k != nil {
		if text, err = json.Marshal(k); err != nil {
			return 0, fmt.Errorf("finger module: %w", err)
		}
		defer clear(text)
	}
	e.At, e.Kind = time.Now().UTC(), "finger-module"
	err = t.vault.Update(func(tx *store.Tx) error {
		if err := tx.SetSecret(knownName, text); err != nil {
			return err
		}
		made, err := tx.Append(e)
		audit = made.Seq
		return err
	})
	return audit, err
}

// refused tells why the module may not even be opened, if so.
func (t trust) refused() error {
	k, err := t.load()
	if err != nil || k == nil || k.Attack == nil {
		return err
	}
	return &refusedError{k.Attack}
}

// admit checks a module that was just opened: the first one is set up, any
// other must be that one. One that is caught at it is refused (*refusedError).
func (t trust) admit(ctx context.Context, m *sensor.Module) error {
	err := t.examine(ctx, m)
	if attack := (*sensor.AttackError)(nil); errors.As(err, &attack) {
		err = errors.Join(&refusedError{attack}, t.caught(attack, false))
	}
	return err
}

func (t trust) examine(ctx context.Context, m *sensor.Module) error {
	k, err := t.load()
	if err != nil {
		return err
	}
	if k == nil {
		return t.setUp(ctx, m)
	}
	if k.Attack != nil {
		return &refusedError{k.Attack}
	}
	what := m.Info().Differs(k.Info)
	if what != "" { // one reading is no proof
		if err := m.Reintroduce(ctx); err != nil {
			return err
		}
		what = m.Info().Differs(k.Info)
	}
	if what != "" {
		return &sensor.AttackError{Kind: sensor.AttackSwapped, Detail: what}
	}
	if err := m.Recall(ctx, k.Info); err != nil {
		return err
	}
	// What a search of before the last power cut left there.
	if n, err := m.TemplateCount(ctx); err != nil {
		return err
	} else if n > 0 {
		if err := m.EmptyLibrary(ctx); err != nil {
			return err
		}
	}
	if len(k.Decoys.Templates) == 0 {
		return nil // it takes no pictures from the host
	}
	return m.Guard(ctx, k.Decoys)
}

// setUp makes the decoys of a new module, and seals them and who it is.
func (t trust) setUp(ctx context.Context, m *sensor.Module) error {
	if was := m.Info().Level; was < sensor.ClaimedLevel {
		if err := m.SetLevel(ctx, sensor.ClaimedLevel); err != nil {
			return err
		}
		t.log.Warn("the finger module's security level was raised: for a lower one nobody claims a rate", "was", was, "is", sensor.ClaimedLevel)
	}
	if t.doubts != nil {
		*t.doubts = sensor.Doubts{} // they are of the one before, and this one does nothing yet
	}
	k := &known{Info: m.Info()}
	// What is sealed here is what every later opening is held against.
	if err := m.Reintroduce(ctx); err != nil {
		return err
	}
	if what := m.Info().Differs(k.Info); what != "" {
		return fmt.Errorf("finger module: asked twice, it is two modules: %s: %w", what, sensor.ErrProtocol)
	}
	if err := m.FindWindow(ctx); err != nil {
		return err
	}
	w, h := m.Info().Window()
	for failed := 0; len(k.Decoys.Templates) < t.decoys; {
		template, took, err := m.MakeDecoy(ctx, nobody(w, h))
		if code := (*sensor.CodeError)(nil); errors.As(err, &code) || errors.Is(err, sensor.ErrTemplate) {
			// One picture proves nothing: nothing acknowledges it, and a damaged one is as
			// if there were none.
			if failed++; failed < decoyTries {
				continue
			}
			if code != nil && code.Code == sensor.MergeFail { // it took the picture, and what came of it is no reason to do without
				return fmt.Errorf("finger module: no decoy could be made: %w", err)
			}
			t.log.Warn("the module takes no pictures: a module that lies is not noticed", "err", err)
			k.Decoys = sensor.Decoys{}
			break
		}
		if err != nil {
			return err
		}
		k.Decoys.Templates = append(k.Decoys.Templates, template)
		if k.Decoys.Compare == 0 || took < k.Decoys.Compare {
			k.Decoys.Compare = took
		}
	}
	if len(k.Decoys.Templates) == 0 {
		if err := m.EmptyLibrary(ctx); err != nil { // whatever it was used for before
			return err
		}
	} else {
		var err error
		if k.Decoys.Keeps, err = m.Keeps(ctx, k.Decoys.Templates[0]); err != nil {
			return err
		}
		if err := m.Guard(ctx, k.Decoys); err != nil {
			return err
		}
	}
	k.Info = m.Info() // with what was seen meanwhile
	t.log.Info("the finger module was set up", "family", k.Info.Family, "decoys", len(k.Decoys.Templates))
	_, err := t.save(k, store.Entry{Outcome: "set-up"})
	return err
}

// others are the templates of the module's kind of everybody but the one whose
// template it is: decoys for a module that takes no pictures.
func (t trust) others(template []byte) (others [][]byte, err error) {
	var all []store.Template
	err = t.vault.View(func(tx *store.Tx) error {
		all, err = tx.Templates(store.KindModule)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("finger module: borrowed decoys: %w", err)
	}
	at := slices.IndexFunc(all, func(o store.Template) bool { return subtle.ConstantTimeCompare(o.Data, template) == 1 })
	for i := range all {
		if at >= 0 && all[i].User != all[at].User && all[i].Model == all[at].Model && len(all[i].Data) == len(all[at].Data) {
			others = append(others, all[i].Data) // Match wipes it
		} else {
			all[i].Wipe()
		}
	}
	return others, nil
}

// kind is which templates are a module's: those of its family that fit it.
type kind interface {
	Family() string
	Fits(template []byte) bool
}

// templates gives those of a kind of module, of everybody, for as long as use runs. What cannot be
// a template is left out, and the log says so once.
func (t trust) templates(of kind, use func([][]byte) error) error {
	var all []store.Template
	err := t.vault.View(func(tx *store.Tx) (err error) {
		all, err = tx.Templates(store.KindModule)
		return err
	})
	defer func() {
		for i := range all {
			all[i].Wipe()
		}
	}()
	if err != nil {
		return fmt.Errorf("finger module: templates: %w", err)
	}
	var data [][]byte
	for _, o := range all {
		if o.Model != of.Family() {
			continue
		}
		if err := sensor.CheckTemplate(o.Data); err != nil {
			name := templateName(&o)
			if _, said := t.spoilt.LoadOrStore(name, true); !said {
				t.log.Warn("nobody is found by a finger's template that is none", "template", name, "err", err, "advice", spoiltAdvice)
			}
			continue
		}
		if of.Fits(o.Data) {
			data = append(data, o.Data)
		}
	}
	return use(data)
}

// nobody is the picture of a finger that nobody has and nobody can foresee.
func nobody(width, height int) sensor.Picture {
	var seed [16]byte
	rand.Read(seed[:])
	o := ridge.ImpressionOptions{Seed: binary.LittleEndian.Uint64(seed[:8]), Width: width, Height: height, Coarse: true}
	return sensor.Picture{Width: width, Height: height, Pix: ridge.New(binary.LittleEndian.Uint64(seed[8:])).Impression(o).Pix}
}

// caught seals that the module is not to be trusted until an admin says so. Where an
// attempt came upon it (asked), the attempt counts it, and nobody does twice. Its error is
// the vault's.
func (t trust) caught(attack *sensor.AttackError, asked bool) error {
	k, err := t.load()
	if err != nil {
		return err
	}
	if k == nil {
		k = new(known)
	}
	if k.Attack != nil {
		return nil // by whoever came first
	}
	t.log.Error("the finger module is not what it was", "kind", attack.Kind, "detail", attack.Detail)
	k.Attack = attack
	audit, err := t.save(k, store.Entry{Outcome: "attack", Reasons: []string{attack.Kind}})
	if !asked {
		t.accuse(attack, audit)
	}
	return err
}

// The names of the module's password and address in the vault.
const (
	passwordName = "finger-password"
	addressName  = "finger-address"
)

// number is the password or the address of the module that was opened last; sealed is
// false where there was none, which is 0 then.
func (t trust) number(name string) (n uint32, sealed bool, err error) {
	err = t.vault.View(func(tx *store.Tx) error {
		text, err := tx.Secret(name)
		defer clear(text)
		if err == nil && len(text) == 4 {
			n, sealed = binary.BigEndian.Uint32(text), true
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("finger module: %s: %w", name, err)
	}
	return n, sealed, nil
}

// keepNumber seals the one that opened the module. The factory's needs no record.
func (t trust) keepNumber(name string, n uint32, outcome string) error {
	was, sealed, err := t.number(name)
	if !sealed && name == addressName {
		was = sensor.DefaultAddress
	}
	if err != nil || was == n {
		return err
	}
	text := binary.BigEndian.AppendUint32(nil, n)
	defer clear(text)
	return t.vault.Update(func(tx *store.Tx) error {
		if err := tx.SetSecret(name, text); err != nil {
			return err
		}
		_, err := tx.Append(store.Entry{At: time.Now().UTC(), Kind: "finger-module", Outcome: outcome})
		return err
	})
}

// rates are what was learnt of those of the module that was set up.
func (t trust) rates() (r sensor.Rates, err error) {
	k, err := t.load()
	if err == nil && k != nil {
		r = k.Rates
	}
	return r, err
}

// keepRates seals them, so that a rate that failed is not tried at every start: the
// module keeps what it is set to in flash.
func (t trust) keepRates(r sensor.Rates) error {
	k, err := t.load()
	if err != nil || k == nil || k.Rates == r {
		return err
	}
	k.Rates = r
	if r.TooFast != 0 {
		t.log.Warn("the finger module's wire does not carry the rate", "baud", r.TooFast, "advice", "a shorter cable; then 'faceprint sensor set PORT --new-baud' sets it once more")
	}
	_, err = t.save(k, store.Entry{Outcome: "rate-sealed"})
	return err
}

// keepSize seals the size of the templates of a module that does not say it, once it was
// seen: one that takes no pictures made none while it was set up.
func (t trust) keepSize(i sensor.Info) error {
	if i.Template == 0 {
		return nil
	}
	k, err := t.load()
	if err != nil || k == nil || k.Info.Template != 0 || i.Differs(k.Info) != "" {
		return err
	}
	k.Info.Template = i.Template
	_, err = t.save(k, store.Entry{Outcome: "size-sealed"})
	return err
}

// anew forgets the module, so that the next one is set up.
func (t trust) anew() error {
	_, err := t.save(nil, store.Entry{Outcome: "trusted-anew"})
	return err
}
