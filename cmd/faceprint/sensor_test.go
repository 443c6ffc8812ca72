package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A wrong argument is wrong usage before the port is touched: there is none, and
// nothing but the argument is complained of.
func TestSensorArgumentsAreCheckedFirst(t *testing.T) {
	port := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{
		{"set", "--level", "0"},
		{"set", "--level", "6"},
		{"set", "--level", "3", "--packet", "100"},
		{"set", "--level", "3", "--new-baud", "1234"},
		{"set", "--empty-library", "--new-password", "x"},
		{"set", "--empty-library", "--new-address", "0x100000000"},
		{"set", "--level", "3", "--new-password", ""},
		{"set"},
		{"info", "--baud", "1234"},
		{"find", "--baud", "-1"},
	} {
		var out, errout bytes.Buffer
		code := run(t.Context(), append([]string{"sensor", args[0], port}, args[1:]...), strings.NewReader(""), &out, &errout)
		if code != exitUsage || strings.Contains(errout.String(), port) {
			t.Errorf("%q: exit %d, %s", args, code, &errout)
		}
	}
	var out, errout bytes.Buffer
	if code := run(t.Context(), []string{"sensor", "set", port, "--level", "3"}, strings.NewReader(""), &out, &errout); code != exitFault || !strings.Contains(errout.String(), port) {
		t.Errorf("a port that is not there: exit %d, %s", code, &errout)
	}
}

func TestNumberListTakesComments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("# those of the workshop\n\n0x10 # the old one\n7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := numberList("--password-list", file)
	if err != nil || !slices.Equal(got, []uint32{0x10, 7}) {
		t.Errorf("%v, %v", got, err)
	}
}
