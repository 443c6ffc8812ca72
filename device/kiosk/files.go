package kiosk

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

//go:embed web
var web embed.FS

// file of the page.
type file struct{ text, kind, tag string }

// files are what the page is made of.
type files struct {
	page   *template.Template
	byName map[string]file
}

var kinds = map[string]string{
	".js":    "text/javascript; charset=utf-8",
	".css":   "text/css; charset=utf-8",
	".json":  "application/json",
	".svg":   "image/svg+xml",
	".woff2": "font/woff2",
}

// comments and indents of the page's files are for readers of the source, and a
// quarter of what a browser would load. Lines keep their numbers. Comments of a
// script have lines of their own, or name a type; no text in it is longer than its
// line.
var (
	comments = map[string]*regexp.Regexp{
		".js":  regexp.MustCompile(`(?m)^[ \t]*(//.*|/\*\*(?:[^*]|\*[^/])*\*/[ \t]*)$|/\*\* @type [^*]*\*/ ?`),
		".css": regexp.MustCompile(`/\*(?:[^*]|\*[^/])*\*/`),
	}
	indents = regexp.MustCompile(`(?m)^[ \t]+`)
)

// served is a file as it is sent: without what is for its readers.
func served(b []byte, ext string) []byte {
	if c := comments[ext]; c != nil {
		b = c.ReplaceAllFunc(b, func(c []byte) []byte { return bytes.Repeat([]byte{'\n'}, bytes.Count(c, []byte{'\n'})) })
	}
	if ext != ".woff2" {
		b = indents.ReplaceAll(b, nil)
	}
	return b
}

func loadFiles() (files, error) {
	all := files{byName: make(map[string]file)}
	err := fs.WalkDir(web, "web", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := web.ReadFile(name)
		if err != nil {
			return err
		}
		if name == "web/index.html" {
			all.page, err = template.New("page").Parse(string(b))
			return err
		}
		kind, ok := kinds[path.Ext(name)]
		if !ok || name == "web/jsconfig.json" {
			return nil // not for browsers
		}
		b = served(b, path.Ext(name))
		sum := sha256.Sum256(b)
		all.byName[strings.TrimPrefix(name, "web/")] = file{string(b), kind, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
		return nil
	})
	if err == nil && all.page == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return files{}, fmt.Errorf("kiosk: the page's files: %w", err)
	}
	return all, nil
}
