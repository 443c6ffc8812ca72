package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// greeterSocket is where greetd says where it listens (greetd-ipc(7)).
const greeterSocket = "GREETD_SOCK"

// maxGreetd bounds a message of greetd's, in bytes.
const maxGreetd = 64 << 10

func (t *tool) greeter() *cobra.Command {
	var user, session string
	c := &cobra.Command{
		Use:   "greeter",
		Short: "Be the login screen of greetd, on a terminal",
		Long: `Ask for an account, let greetd authenticate it by PAM (pam_faceprint shows there
what to do, and asks for the password), and start the session.

greetd starts it as its default_session; docs/login.md has a recipe with cage and
Chromium.`,
		Example: "  faceprint greeter --user ward --session 'cage -s -- chromium --kiosk http://127.0.0.1:8750/'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := os.Getenv(greeterSocket)
			if path == "" {
				return usage("%s is not set: greetd starts this command, as command of [default_session]", greeterSocket)
			}
			conn, err := (&net.Dialer{}).DialContext(cmd.Context(), "unix", path)
			if err != nil {
				return fmt.Errorf("greetd does not answer: %w", err)
			}
			defer conn.Close()
			g := greeting{greetd: conn, terminal: t.in, lines: bufio.NewReader(t.in), out: t.out, user: user, session: session}
			for {
				started, err := g.once()
				if started || err != nil {
					return err
				}
			}
		},
	}
	c.Flags().StringVar(&user, "user", "", "the account to log in to; asked for where it is not given")
	c.Flags().StringVar(&session, "session", "", "the command to start, which greetd gives to a shell")
	_ = c.MarkFlagRequired("session")
	return c
}

// greeting is a conversation of a person with greetd.
type greeting struct {
	greetd   io.ReadWriter
	terminal io.Reader
	lines    *bufio.Reader // of the terminal
	out      io.Writer
	user     string
	session  string
}

// Messages of greetd-ipc(7).
type (
	greetdRequest struct {
		Type     string   `json:"type"`
		Username string   `json:"username,omitempty"`
		Response *string  `json:"response,omitempty"`
		Cmd      []string `json:"cmd,omitempty"`
		Env      []string `json:"env,omitempty"`
	}
	greetdAnswer struct {
		Type        string `json:"type"`
		ErrorType   string `json:"error_type"`
		Description string `json:"description"`
		AuthType    string `json:"auth_message_type"`
		AuthMessage string `json:"auth_message"`
	}
)

// ask sends a request and reads its answer: JSON after its length as 32 bits
// in the machine's own order.
func (g *greeting) ask(r greetdRequest) (a greetdAnswer, err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	if _, err := g.greetd.Write(append(binary.NativeEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return a, fmt.Errorf("greetd: %w", err)
	}
	var head [4]byte
	if _, err := io.ReadFull(g.greetd, head[:]); err != nil {
		return a, fmt.Errorf("greetd: %w", err)
	}
	n := binary.NativeEndian.Uint32(head[:])
	if n > maxGreetd {
		return a, fmt.Errorf("greetd: a message of %d bytes, at most %d are taken", n, maxGreetd)
	}
	b = make([]byte, n)
	if _, err := io.ReadFull(g.greetd, b); err != nil {
		return a, fmt.Errorf("greetd: %w", err)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("greetd: %w", err)
	}
	return a, nil
}

// once tries to log somebody in and tells whether their session starts. From the
// account on, the terminal shows nothing that is typed: while the device looks,
// people type their password, although nobody asked for it yet.
func (g *greeting) once() (started bool, err error) {
	user := g.user
	if user == "" {
		if user, err = g.prompt("Account: ", true); err != nil {
			return false, err
		}
		if user = strings.TrimSpace(user); user == "" {
			return false, nil
		}
	} else if _, err = g.prompt("Press Enter to log in as "+printable(user)+". ", true); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, g.echo(true)) }()
	a, err := g.ask(greetdRequest{Type: "create_session", Username: user})
	for ; err == nil && a.Type == "auth_message"; a, err = g.respond(a) {
	}
	if err != nil {
		return false, err
	}
	if a.Type == "success" {
		if a, err = g.ask(greetdRequest{Type: "start_session", Cmd: []string{g.session}}); err != nil {
			return false, err
		}
		if a.Type == "success" {
			return true, nil
		}
	}
	if a.Type != "error" {
		return false, fmt.Errorf("greetd answers with %q", a.Type)
	}
	switch a.ErrorType {
	case "auth_error": // says no more than that, which is right
		fmt.Fprintln(g.out, "Not logged in.")
	default:
		fmt.Fprintln(g.out, printable(a.Description))
	}
	_, err = g.ask(greetdRequest{Type: "cancel_session"})
	return false, err
}

// respond shows what PAM says and answers what it asks.
func (g *greeting) respond(a greetdAnswer) (greetdAnswer, error) {
	r := greetdRequest{Type: "post_auth_message_response"}
	switch a.AuthType {
	case "visible", "secret":
		text, err := g.prompt(a.AuthMessage, a.AuthType == "visible")
		if err != nil {
			return greetdAnswer{}, err
		}
		r.Response = &text
	default: // info, error
		fmt.Fprintln(g.out, printable(a.AuthMessage))
	}
	return g.ask(r)
}

// echo lets the terminal show what is typed, or not. What was typed unseen and
// not asked for is forgotten before anything is shown: it was a password.
func (g *greeting) echo(on bool) error {
	f, ok := g.terminal.(*os.File)
	if !ok {
		return nil
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil // no terminal: nothing is shown
	}
	set := uint(unix.TCSETS)
	if t.Lflag &^= unix.ECHO; on {
		t.Lflag |= unix.ECHO
		set = unix.TCSETSF
		g.lines.Reset(g.terminal)
	}
	if err := unix.IoctlSetTermios(int(f.Fd()), set, t); err != nil {
		return fmt.Errorf("greeter: the terminal: %w", err)
	}
	return nil
}

// prompt reads a line, which the terminal shows while it is typed or does not.
func (g *greeting) prompt(text string, show bool) (line string, err error) {
	if show {
		if err := g.echo(true); err != nil {
			return "", err
		}
		defer func() {
			if e := g.echo(false); e != nil {
				line, err = "", e
			}
		}()
	} else {
		defer fmt.Fprintln(g.out)
	}
	fmt.Fprint(g.out, printable(text))
	line, err = g.lines.ReadString('\n')
	if errors.Is(err, io.EOF) {
		return "", errors.New("greeter: the terminal is gone")
	}
	if err != nil {
		return "", fmt.Errorf("greeter: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// printable keeps a text from driving the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}
