package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every command that the documents name exists, under that name.
func TestDocumentsNameCommandsThatExist(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	named := regexp.MustCompile(`[\x60'"]faceprint((?: [a-z][a-z-]*)+)`)
	seen := 0
	for _, file := range append(files, "../../README.md", "../../SECURITY.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			for _, m := range named.FindAllStringSubmatch(line, -1) {
				seen++
				c := new(tool).root()
				c.InitDefaultHelpCmd()
				c.InitDefaultCompletionCmd()
			words:
				for _, word := range strings.Fields(m[1]) {
					for _, sub := range c.Commands() {
						if sub.Name() == word {
							c = sub
							continue words
						}
					}
					if c.HasSubCommands() {
						t.Errorf("%s:%d: %q has no command %q", file, n+1, c.CommandPath(), word)
					}
					break
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d commands were found in the documents", seen)
	}
}

func TestEnrolIsEnroll(t *testing.T) {
	var out, errout bytes.Buffer
	if code := run(t.Context(), []string{"enrol", "--help"}, strings.NewReader(""), &out, &errout); code != exitOK || !strings.Contains(out.String(), "faceprint enroll NAME") {
		t.Errorf("exit %d: %s%s", code, &out, &errout)
	}
}
