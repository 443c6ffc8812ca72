package main

import (
	"bytes"
	"fmt"
	"html"
	"slices"
	"strings"
)

// terminalPicture collects what a terminal shows and draws it, so that the
// README's picture is what a run really printed.
type terminalPicture struct{ text bytes.Buffer }

func (p *terminalPicture) Write(b []byte) (int, error) { return p.text.Write(b) }

// isProgress tells a line that only says that something slow goes on.
func isProgress(line string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return strings.HasPrefix(line, "        ") && (word == "face" || word == "finger" || word == "hint:")
}

// SVG draws the text in a plain terminal window.
func (p *terminalPicture) SVG() []byte {
	const line, char, margin = 18, 7.7, 16
	lines := slices.DeleteFunc(strings.Split(strings.TrimRight(p.text.String(), "\n"), "\n"), isProgress)
	columns := 40
	for _, l := range lines {
		columns = max(columns, len([]rune(l)))
	}
	width, height := int(float64(columns)*char)+2*margin, len(lines)*line+2*margin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="What make demo prints">`, width, height, width, height)
	b.WriteString(`<rect width="100%" height="100%" rx="8" fill="#14181d"/><g font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="12.8" fill="#c9d1d9">`)
	for i, l := range lines {
		colour := ""
		switch {
		case strings.HasPrefix(l, "    ok"):
			colour = ` fill="#7ee787"`
		case strings.HasPrefix(l, "        "):
			colour = ` fill="#8b949e"`
		}
		fmt.Fprintf(&b, `<text xml:space="preserve" x="%d" y="%d"%s>%s</text>`, margin, margin+(i+1)*line-5, colour, html.EscapeString(l))
	}
	b.WriteString("</g></svg>\n")
	return b.Bytes()
}
