package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/device/api/client"
)

// A login is answered in lines, each with the asker's nonce; the last alone has
// an outcome, and only a grant is a yes.
func TestLoginAnswersInLines(t *testing.T) {
	fault := errors.New("cable")
	busy := NewProblem(http.StatusConflict, client.ProblemBusy, "", "")
	unknown := NewProblem(http.StatusNotFound, client.ProblemNotFound, "", "")
	for _, c := range []struct {
		name            string
		decision        client.Decision
		err             error
		outcome, reason string
	}{
		{"granted", client.Decision{Outcome: client.Granted}, nil, "granted", ""},
		{"refused", client.Decision{Outcome: client.Refused, Reasons: []string{"face-no-match", "finger-missing"}}, nil, "refused", "face-no-match"},
		{"retry", client.Decision{Outcome: client.Retry, Hints: []string{"too-dark"}}, nil, "retry", "too-dark"},
		{"busy", client.Decision{}, busy, "busy", ""},
		{"unknown account", client.Decision{}, unknown, "refused", "not-enrolled"},
		{"no PIN here", client.Decision{}, NewProblem(http.StatusForbidden, client.ProblemPIN, "", ""), "refused", "pin-forbidden"},
		{"no such PIN", client.Decision{}, NewProblem(http.StatusUnprocessableEntity, client.ProblemPIN, "", ""), "fault", ""},
		{"fault", client.Decision{}, fault, "fault", ""},
		{"fault beside a yes", client.Decision{Outcome: client.Granted}, fault, "fault", ""},
		{"zero", client.Decision{}, nil, "refused", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(&fake{decision: c.decision, err: c.err, hints: []string{"closer", "press-finger"}}, Options{Log: quiet()})
			w := as(s, RoleAdmin, "POST", "/v1/login", `{"account":"alice","nonce":"0123456789abcdef"}`)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/x-ndjson" {
				t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			var lines []client.LoginLine
			for text := range strings.Lines(w.Body.String()) {
				var l client.LoginLine
				if err := json.Unmarshal([]byte(text), &l); err != nil {
					t.Fatal(err)
				}
				if l.Nonce != "0123456789abcdef" || l.Account != "alice" {
					t.Errorf("line %q is not bound to the question", text)
				}
				lines = append(lines, l)
			}
			if len(lines) != 3 || lines[0].Hint != "closer" || lines[1].Hint != "press-finger" {
				t.Fatalf("lines %+v", lines)
			}
			for i, l := range lines {
				if (l.Outcome != "") != (i == 2) {
					t.Errorf("line %d has the outcome %q", i, l.Outcome)
				}
			}
			if l := lines[2]; l.Outcome != c.outcome || l.Reason != c.reason {
				t.Errorf("outcome %q, reason %q", l.Outcome, l.Reason)
			}
		})
	}
}

// Without a role one may ask for one's own account and no other's.
func TestLoginIsForRootOrTheAccountItself(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := New(&fake{decision: client.Decision{Outcome: client.Granted}}, Options{Log: quiet()})
	ask := func(peer any, account string) int {
		r := httptest.NewRequest("POST", "/v1/login", strings.NewReader(`{"account":"`+account+`","nonce":"0123456789abcdef"}`))
		r.Header.Set("Content-Type", "application/json")
		ctx := context.WithValue(r.Context(), roleKey{}, RoleLocal)
		if peer != nil {
			ctx = context.WithValue(ctx, peerKey{}, peer)
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r.WithContext(ctx))
		return w.Code
	}
	if got := ask(Peer{UID: os.Getuid()}, me.Username); got != http.StatusOK {
		t.Errorf("one's own account: %d", got)
	}
	if got := ask(Peer{UID: os.Getuid()}, "somebody-else"); got != http.StatusForbidden {
		t.Errorf("another's account: %d", got)
	}
	if got := ask(Peer{UID: 1<<31 - 7}, me.Username); got != http.StatusForbidden {
		t.Errorf("a uid without an account: %d", got)
	}
	if got := ask(nil, me.Username); got != http.StatusForbidden {
		t.Errorf("a caller without a name: %d", got)
	}
	if got := ask(Peer{UID: os.Getuid()}, me.Username+`","keyring":true,"service":"x`); got != http.StatusForbidden {
		t.Errorf("the keyring of one's own account: %d", got)
	}
}

// The password of a keyring is in the line that grants, for whom it was asked,
// and what it passed through is wiped.
func TestLoginTellsTheKeyringToRoot(t *testing.T) {
	for _, c := range []struct {
		ask, last string
	}{
		{`,"keyring":true`, `{"nonce":"0123456789abcdef","account":"alice","outcome":"granted","keyring":"abc"}`},
		{``, `{"nonce":"0123456789abcdef","account":"alice","outcome":"granted"}`},
	} {
		s := New(&fake{decision: client.Decision{Outcome: client.Granted}, hints: []string{"closer"}}, Options{Log: quiet()})
		w := as(s, RoleRoot, "POST", "/v1/login", `{"account":"alice","nonce":"0123456789abcdef"`+c.ask+`}`)
		first, last, _ := strings.Cut(strings.TrimSpace(w.Body.String()), "\n")
		if last != c.last || strings.Contains(first, "keyring") {
			t.Errorf("%s", w.Body)
		}
	}
	k := &kept{}
	(&lineWriter{out: k, nonce: "n", account: "a"}).write(client.LoginLine{Outcome: "granted"}, []byte("abc"))
	if !strings.Contains(k.said, "abc") || strings.Contains(string(k.line), "abc") {
		t.Errorf("said %q, and %q is left", k.said, k.line)
	}
}

// kept keeps what was written to it as whoever wrote it left it.
type kept struct {
	said string
	line []byte
}

func (k *kept) Write(b []byte) (int, error) {
	k.said, k.line = string(b), b
	return len(b), nil
}

func TestAccountsReachTheBackend(t *testing.T) {
	s := New(&fake{}, Options{Log: quiet()})
	w := as(s, RoleAdmin, "PUT", "/v1/logins/alice", `{"user":"u1"}`)
	var l client.Login
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || l.Account != "alice" || l.User != "u1" {
		t.Errorf("%s: %v", w.Body, err)
	}
	w = as(s, RoleAdmin, "DELETE", "/v1/logins/a%20b", "")
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || l.Account != "a b" {
		t.Errorf("%s: %v", w.Body, err)
	}
}
