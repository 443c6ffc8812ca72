package device

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// CheckProfile tells why a device that looks with this profile could recognise
// nobody: before anybody stands there, what each attempt would end in.
func CheckProfile(p vision.Profile) error {
	if _, err := p.Table.Threshold(samePersonFMR); err != nil {
		return fmt.Errorf("the frames of one person are told from another's at a false match rate of %g by [table], which ends at %g: %w", samePersonFMR, p.Table.Least(), vision.ErrProfile)
	}
	if _, err := turnedTable(p).Threshold(turnedFMR); err != nil {
		return fmt.Errorf("who turns their head is told at a false match rate of %g by the table of templates, which ends at %g: %w", turnedFMR, turnedTable(p).Least(), vision.ErrProfile)
	}
	return nil
}

// turnedTable is what a frame aside, which is compared with a mean, is held to. One of
// templates that was only estimated from two pictures' would be too strict for what is
// left of the likeness there: whoever turns the head as asked was compared before, and
// will be once more.
func turnedTable(p vision.Profile) vision.Table {
	if len(p.Templates.Points) == 0 {
		return p.Table
	}
	return p.Templates
}

// comparable are the templates that a face is compared with: those that this profile
// made, or, where its table does not reach so many at the rate, the first of everybody
// and then as many as it does reach. Among more the rate would be worse than it is
// called, and so nobody would be recognised at all. Where not even everybody's first is
// within reach it is ErrReach: to look for some of the people would be to refuse the
// others for nothing that they did. What comes with it are everybody's first, none of
// whom passes by the rate, but whose finger it would have to be.
func comparable(ts []store.Template, profile vision.Profile, fmr float64) ([]store.Template, error) {
	ts = slices.Clone(ts)
	ts = slices.DeleteFunc(ts, func(t store.Template) bool { return !profile.Made(t.Model) })
	most := profile.Match().Reach(fmr)
	if most < 1 || len(ts) <= most {
		return ts, nil
	}
	follows := func(t store.Template) int { return min(len(adapted(t)), 1) }
	slices.SortStableFunc(ts, func(a, b store.Template) int {
		return cmp.Or(cmp.Compare(follows(a), follows(b)), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	rank, have := make(map[string]int), make(map[store.UserID]int) // of each template among its person's
	for _, t := range ts {
		rank[t.ID] = have[t.User]
		have[t.User]++
	}
	slices.SortStableFunc(ts, func(a, b store.Template) int { return cmp.Compare(rank[a.ID], rank[b.ID]) })
	if people := len(have); people > most {
		return ts[:people], fmt.Errorf("device: %d people are enrolled by face, and the table of profile %s tells one from others among at most %d templates at a rate of %g: %w", people, profile.Name, most, fmr, ErrReach)
	}
	return ts[:most], nil
}

// fingersDecide tells whether a finger alone could be a yes: one suffices, there is a
// reader, and somebody has one enrolled.
func (d *Device) fingersDecide(m Mode) (can bool, err error) {
	if m != Either || d.hw.Finger == nil || d.hw.Match == nil {
		return false, nil
	}
	err = d.vault.View(func(tx *store.Tx) error {
		ts, err := tx.Templates(d.hw.Prints)
		can = len(ts) > 0
		wipe(ts)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("device: templates: %w", err)
	}
	return can, nil
}

// warnOfReach says in the log that more people are enrolled by face than one can be
// searched among: at the enrolment, and not to whoever comes next.
func (d *Device) warnOfReach() {
	profile, err := d.hw.Faces.Profile()
	if err != nil {
		return // the part itself says what is wrong
	}
	var ts []store.Template
	defer func() { wipe(ts) }()
	err = d.vault.View(func(tx *store.Tx) (err error) { ts, err = tx.Templates(store.KindFace); return err })
	if err == nil {
		_, err = comparable(ts, profile, d.policy.FaceFMR)
	}
	if err != nil {
		d.opts.Log.Warn("an enrolment: nobody is searched by face from now on, 'verify' goes on", "err", err)
	}
}
