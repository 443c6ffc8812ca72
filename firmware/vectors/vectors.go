// Package vectors reads testdata/protocol.txt for the tests of both packages
// that speak the board's protocol; the board's C reads the same file.
package vectors

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// Read returns the lines of a kind: the values by their names.
func Read(t testing.TB, file, kind string) []map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []map[string]string
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Fields(s.Text())
		if len(words) == 0 || words[0] != kind {
			continue
		}
		v := map[string]string{}
		for _, w := range words[1:] {
			name, value, _ := strings.Cut(w, "=")
			v[name] = value
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		t.Fatalf("no vectors of kind %s in %s", kind, file)
	}
	return all
}
