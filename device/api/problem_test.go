package api

import (
	"strings"
	"testing"
)

// A body may hold a secret: the answer to a bad one says where and what is
// wrong, and repeats nothing of it.
func TestProblemsDoNotRepeatTheBody(t *testing.T) {
	const secret = "hunter2"
	s := New(&fake{}, Options{})
	for body, want := range map[string]string{
		`{"account":"hunter2`:           "no whole JSON: it ends at byte 19",
		`{"account":hunter2}`:           "no JSON from byte 12 on",
		`"hunter2"`:                     "expected object",
		`{"account":["hunter2"]}`:       "body.account",
		`{"nonce":"hunter2"}`:           "body.nonce",
		`{"timeout_ms":"hunter2"}`:      "body.timeout_ms",
		`hunter2`:                       "no JSON from byte 1 on",
		"\xff{\"account\":\"hunter2\"}": "no JSON from byte 1 on",
		"":                              "",
		`{"` + strings.Repeat("x", 4000) + `":"hunter2"}`: "body.xxx",
	} {
		w := as(s, RoleAdmin, "POST", "/v1/login", body)
		said := w.Body.String()
		if w.Code < 400 || w.Code >= 500 || w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(said, want) {
			t.Errorf("%.40q: %d %s, want %q", body, w.Code, said, want)
		}
		if strings.Contains(said, secret) || strings.Contains(said, `"value"`) || len(said) > 1<<11 {
			t.Errorf("%.40q is repeated: %s", body, said)
		}
	}
	r := as(s, RoleAdmin, "PUT", "/v1/phones/p/terms", `{"rights":["approve"],"expires":"hunter2"}`)
	if said := r.Body.String(); r.Code != 422 || strings.Contains(said, secret) || !strings.Contains(said, "body.expires") {
		t.Errorf("%d %s", r.Code, said)
	}
}
