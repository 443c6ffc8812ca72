package device

import _ "embed"

// ConsentText is what a person is shown before anything of theirs is captured.
// A change of what it says needs a new version, in every language.
type ConsentText struct {
	Version  string
	Language string // BCP 47
	Text     string
}

const consentVersion = "2026-12b" // tells of backups

var (
	//go:embed consent.en.txt
	consentEnglish string
	//go:embed consent.de.txt
	consentGerman string
	//go:embed consent.ar.txt
	consentArabic string
)

// ConsentTexts are those of the present version, English first.
func ConsentTexts() []ConsentText {
	return []ConsentText{
		{consentVersion, "en", consentEnglish},
		{consentVersion, "de", consentGerman},
		{consentVersion, "ar", consentArabic},
	}
}
