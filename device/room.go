package device

import (
	"fmt"

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
