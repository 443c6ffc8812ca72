package client

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// imports of the snippet, which the documentation leaves out.
const kotlinImports = `import android.security.keystore.*
import android.util.Base64
import java.math.BigInteger
import java.security.*
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec
import javax.net.ssl.SSLSocket
import org.conscrypt.Conscrypt
`

// The Kotlin of docs/phone.md, compiled and run as it stands there with
// stand-ins for Android's own classes, says what the vectors say.
func TestKotlinOfTheDocumentation(t *testing.T) {
	if os.Getenv("FACEPRINT_NIGHTLY") == "" {
		t.Skip("the compiler takes long; 'make nightly' sets FACEPRINT_NIGHTLY")
	}
	kotlinc, err := exec.LookPath("kotlinc")
	if err != nil {
		t.Skip("needs Debian's kotlin: packaging/deps.sh installs it for 'make nightly'")
	}
	doc, err := os.ReadFile("../../../docs/phone.md")
	if err != nil {
		t.Fatal(err)
	}
	_, snippet, found := strings.Cut(string(doc), "```kotlin\n")
	snippet, _, closed := strings.Cut(snippet, "```")
	if !found || !closed {
		t.Fatal("docs/phone.md has no Kotlin")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Snippet.kt"), []byte(kotlinImports+snippet), 0o600); err != nil {
		t.Fatal(err)
	}
	jar := filepath.Join(dir, "phone.jar")
	if out, err := exec.Command(kotlinc, "-include-runtime", "-d", jar, dir, "testdata/kotlin").CombinedOutput(); err != nil {
		t.Fatalf("kotlinc: %v\n%s", err, out)
	}

	v := generate(t)
	var lines, want []string
	ask := func(answer string, words ...string) {
		for i, w := range words {
			words[i] = hex.EncodeToString([]byte(w))
		}
		lines, want = append(lines, strings.Join(words, " ")), append(want, answer)
	}
	raw := func(s string) string {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	public := raw(v.Phone.Public)
	ask(v.Phone.ID, "id", public)
	ask(b64.EncodeToString([]byte(public)), "key", public)
	secret := raw(v.Invitation.Secret)
	ask(v.Pairing.PhoneProof, append([]string{"prove", secret}, strings.Split(v.Pairing.PhoneMessage, "\n")...)...)
	ask(v.Pairing.DeviceProof, append([]string{"prove", secret}, strings.Split(v.Pairing.DeviceMessage, "\n")...)...)
	for _, r := range v.Requests {
		ask(strings.ReplaceAll(r.Message, "\n", "|"), "message", r.Method, r.Target, strconv.FormatUint(r.Counter, 10), raw(r.Binding), r.Body)
	}
	// Signatures are random: some have an r or s that is shorter than 32 bytes.
	const signatures = 600
	r := v.Requests[0]
	for range signatures {
		ask("", "sign", v.Phone.ID, strconv.FormatUint(r.Counter, 10), r.Message, raw(v.Phone.Private))
	}
	run := exec.Command("java", "-cp", jar, "MainKt")
	run.Stdin, run.Stderr = strings.NewReader(strings.Join(lines, "\n")+"\n"), os.Stderr
	out, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d answers to %d questions", len(got), len(want))
	}
	var k Key
	copy(k[:], public)
	key, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(r.Message))
	for i, answer := range got {
		if want[i] != "" {
			if answer != want[i] {
				t.Errorf("%s\nKotlin  %s\nvectors %s", lines[i], answer, want[i])
			}
			continue
		}
		s, err := ParseSignature(answer)
		if err != nil || s.ID != v.Phone.ID || s.Counter != r.Counter ||
			!ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(s.Sig[:32]), new(big.Int).SetBytes(s.Sig[32:])) {
			t.Fatalf("%s: %v", answer, err)
		}
	}
}
