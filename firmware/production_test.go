package firmware

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build runs make for one target with a production key.
func build(t *testing.T, dir, key, target string) (string, error) {
	t.Helper()
	out, err := exec.Command("make", "-s", "BUILD="+dir, "PRODUCTION_KEY="+key, target).CombinedOutput()
	return string(out), err
}

func keyFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func public(seed byte) string {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return hex.EncodeToString(key.Public().(ed25519.PublicKey))
}

// A production loader is never built with a key for which anybody can sign, with
// half a key, or without one.
func TestProductionKeyIsLookedAt(t *testing.T) {
	good := public('K')
	for name, c := range map[string]struct{ text, says string }{
		"short":          {good[:20], "64 hexadecimal digits"},
		"long":           {good + "00\n", "64 hexadecimal digits"},
		"two lines":      {good + "\n" + good + "\n", "64 hexadecimal digits"},
		"windows":        {good + "\r\n", "64 hexadecimal digits"},
		"not hex":        {good[:63] + "g\n", "64 hexadecimal digits"},
		"empty":          {"", "64 hexadecimal digits"},
		"zeros":          {strings.Repeat("0", 64), "small order"},
		"one":            {"01" + strings.Repeat("0", 62), "small order"},
		"minus one":      {"ec" + strings.Repeat("f", 60) + "7f", "small order"},
		"order 8, -x":    {"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", "small order"},
		"no point":       {"02" + strings.Repeat("0", 62), "no point"},
		"a private file": {"-----BEGIN PRIVATE KEY-----\n", "64 hexadecimal digits"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			out, err := build(t, dir, keyFile(t, c.text), filepath.Join(dir, "microbit/loader-production.bin"))
			if err == nil || !strings.Contains(out, c.says) {
				t.Fatalf("%v: %s", err, out)
			}
			if _, err := os.Stat(filepath.Join(dir, "microbit")); err == nil {
				t.Fatal("something was built")
			}
		})
	}
	dir := t.TempDir()
	out, err := build(t, dir, filepath.Join(dir, "nobody"), "microbit")
	if err == nil || !strings.Contains(out, "No such file") {
		t.Fatalf("%v: %s", err, out)
	}
}

// The loader holds the key of this build, not the one before; and without a key
// there is no production loader.
func TestLoaderIsBuiltAnewForAnotherKey(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "microbit/loader-production.bin")
	for _, seed := range []byte{'K', 'L'} {
		if out, err := build(t, dir, keyFile(t, public(seed)+"\n"), file); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		loader, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []byte{'K', 'L', 'F'} {
			key, _ := hex.DecodeString(public(k))
			if bytes.Contains(loader, key) != (k == seed) {
				t.Errorf("loader of key %c: holds key %c: %v", seed, k, k != seed)
			}
		}
	}
	if out, err := build(t, dir, "", file); err == nil || !strings.Contains(out, "needs a key") {
		t.Fatalf("%v: %s", err, out)
	}
}

// romCRC is the CRC-32 of the RP2040's boot ROM (datasheet 2.8.1.3.1): the IEEE one with
// every bit order turned round, not complemented.
func romCRC(b []byte) uint32 {
	turned := bytes.Clone(b)
	for i := range turned {
		turned[i] = bits.Reverse8(turned[i])
	}
	return bits.Reverse32(^crc32.ChecksumIEEE(turned))
}

// The boot ROM starts a second stage whose CRC fits, and no other: a production loader
// without it is a Pico that never starts.
func TestProductionLoaderStartsAPico(t *testing.T) {
	dir := t.TempDir()
	key := keyFile(t, public('K')+"\n")
	file := filepath.Join(dir, "pico/loader-production.uf2")
	if out, err := build(t, dir, key, file); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	uf2, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := os.ReadFile(filepath.Join(dir, "pico/loader-production.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := binary.LittleEndian.Uint32(loader[252:]), romCRC(loader[:252]); got != want {
		t.Errorf("loader-production.bin: CRC-32 %#08x, the boot ROM wants %#08x", got, want)
	}
	// What the drive writes at 0x10000000 is that loader.
	var flash []byte
	for at := 0; at < len(uf2); at += 512 {
		b := uf2[at:]
		if to := binary.LittleEndian.Uint32(b[12:]); to != 0x10000000+uint32(len(flash)) {
			t.Fatalf("block %d is for %#08x", at/512, to)
		}
		flash = append(flash, b[32:32+256]...)
	}
	if len(flash) < len(loader) || !bytes.Equal(flash[:len(loader)], loader) {
		t.Error("loader-production.uf2 is not loader-production.bin")
	}
	if k, _ := hex.DecodeString(public('K')); !bytes.Contains(flash, k) {
		t.Error("the key is not in it")
	}
	// It is what a user's make builds.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("make", "-n", "BUILD="+dir, "PRODUCTION_KEY="+key, "pico").CombinedOutput()
	if err != nil || !strings.Contains(string(out), file) {
		t.Errorf("make pico: %v: %s", err, out)
	}
}
