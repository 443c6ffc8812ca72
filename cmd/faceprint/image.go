package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/cmd/internal/outfile"
	"github.com/faceprint/faceprint/firmware"
)

func (t *tool) image() *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "Sign and examine images of the guard board",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(t.imageSign(), t.imageShow())
	return c
}

func (t *tool) imageSign() *cobra.Command {
	var board, key, version, slotA, slotB, out string
	var rollback uint32
	c := &cobra.Command{
		Use:   "sign --board BOARD --version V [--slot-a FILE] [--slot-b FILE] -o FILE.fpb",
		Short: "Make a signed bundle of the programs for both slots",
		Long: `Make a signed bundle of the programs that were linked for slot A and slot B.
A program is the raw binary as it lies behind the header: it begins with the
initial stack pointer and the reset handler.

--key dev signs with the development key, which is public and which a
production loader refuses. --key FILE makes a production image: FILE holds the
seed as 64 hexadecimal digits, or what 'openssl genpkey -algorithm ed25519'
writes.`,
		Example: "  faceprint image sign --board pico --version 1.0.1 --rollback 0 --key dev \\\n      --slot-a app-a.bin --slot-b app-b.bin -o pico-1.0.1.fpb",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := firmware.BoardByName(board)
			if err != nil {
				return usage("%w", err)
			}
			v, err := firmware.ParseVersion(version)
			if err != nil {
				return usage("%w", err)
			}
			if slotA == "" && slotB == "" {
				return usage("name a program: --slot-a, --slot-b or both")
			}
			signer := firmware.DevelopmentKey()
			if key != "dev" {
				if signer, err = privateKey(key); err != nil {
					return err
				}
				defer clear(signer)
			}
			var images []*firmware.Image
			for _, p := range []struct {
				file string
				link uint32
			}{{slotA, b.A}, {slotB, b.B}} {
				if p.file == "" {
					continue
				}
				body, err := readAtMost(p.file, int64(b.MostBody()))
				if err != nil {
					return err
				}
				for len(body)%4 != 0 {
					body = append(body, 0xFF) // a word is the smallest write
				}
				m := &firmware.Image{Production: key != "dev", Board: b, Link: p.link, Version: v, Rollback: rollback, Body: body}
				if err := m.Sign(signer); err != nil {
					return fmt.Errorf("%s: %w", p.file, err)
				}
				images = append(images, m)
			}
			bundle, err := firmware.EncodeBundle(images...)
			if err != nil {
				return err
			}
			if err := outfile.Write(out, bundle, 0o644); err != nil {
				return err
			}
			return t.print(shownImages(out, images), func(w io.Writer) {
				for _, m := range images {
					fmt.Fprintf(w, "%s: %s\n", out, m)
				}
			})
		},
	}
	f := c.Flags()
	f.StringVar(&board, "board", "", "which board it is for: host, microbit or pico")
	f.StringVar(&key, "key", "dev", "dev, or a file with the production key")
	f.StringVar(&version, "version", "", "version, like 1.0.1")
	f.Uint32Var(&rollback, "rollback", 0, "raise it when older versions must never run again")
	f.StringVar(&slotA, "slot-a", "", "program linked for slot A")
	f.StringVar(&slotB, "slot-b", "", "program linked for slot B")
	f.StringVarP(&out, "output", "o", "", "the bundle")
	for _, name := range []string{"board", "version", "output"} {
		_ = c.MarkFlagRequired(name)
	}
	return c
}

func (t *tool) imageShow() *cobra.Command {
	var production string
	c := &cobra.Command{
		Use:   "show FILE.fpb",
		Short: "Tell what is in a bundle, and whether its signatures hold",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			images, err := readBundle(args[0])
			if err != nil {
				return err
			}
			public, err := publicKey(production)
			if err != nil {
				return err
			}
			shown := shownImages(args[0], images)
			var bad error
			for i, m := range images {
				shown.Images[i].Signature, err = checkSignature(m, public)
				bad = errors.Join(bad, err)
			}
			if err := t.print(shown, func(w io.Writer) {
				for i, m := range images {
					fmt.Fprintf(w, "%s, signature %s\n", m, shown.Images[i].Signature)
				}
			}); err != nil {
				return err
			}
			return bad
		},
	}
	productionFlag(c, &production)
	return c
}

func productionFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "production-key", "", "file with the public key of production images; without it that signature is left to the board")
}

// shownBundle is what is printed of one.
type shownBundle struct {
	File   string       `json:"file"`
	Images []shownImage `json:"images"`
}

type shownImage struct {
	Board     string `json:"board"`
	Slot      string `json:"slot"`
	Version   string `json:"version"`
	Rollback  uint32 `json:"rollback"`
	Key       string `json:"key"`
	Bytes     int    `json:"bytes"`
	Signature string `json:"signature,omitempty"`
}

func shownImages(file string, images []*firmware.Image) shownBundle {
	s := shownBundle{File: file}
	for _, m := range images {
		s.Images = append(s.Images, shownImage{
			Board: m.Board.Name, Slot: string(m.Slot()), Version: m.Version.String(), Rollback: m.Rollback,
			Key: keyName(m.Production), Bytes: m.Size(),
		})
	}
	return s
}

func keyName(production bool) string {
	if production {
		return "production"
	}
	return "development"
}

// checkSignature says good, or unchecked where the key is not known here.
func checkSignature(m *firmware.Image, production ed25519.PublicKey) (string, error) {
	public := production
	if !m.Production {
		public = firmware.DevelopmentKey().Public().(ed25519.PublicKey)
	}
	if public == nil {
		return "unchecked: the board checks it", nil
	}
	if err := m.Verify(public); err != nil {
		return "bad", err
	}
	return "good", nil
}

func readBundle(file string) ([]*firmware.Image, error) {
	b, err := readAtMost(file, firmware.MaxBundle)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EISDIR):
		return nil, fmt.Errorf("%w; name an image, a file that ends in .fpb, from 'make firmware' or a release", err)
	case err != nil:
		return nil, err
	}
	images, err := firmware.DecodeBundle(b)
	if err != nil {
		return nil, refused(file, err)
	}
	return images, nil
}

// refused adds what to do about a refusal.
func refused(what string, err error) error {
	var r firmware.Refusal
	if errors.As(err, &r) && r.Advice() != "" {
		return fmt.Errorf("%s: %w; %s", what, err, r.Advice())
	}
	return fmt.Errorf("%s: %w", what, err)
}

func privateKey(file string) (ed25519.PrivateKey, error) {
	text, err := readAtMost(file, 4<<10)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	k, err := firmware.ParsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// publicKey reads one; nil where no file is named.
func publicKey(file string) (ed25519.PublicKey, error) {
	if file == "" {
		return nil, nil
	}
	text, err := readAtMost(file, 4<<10)
	if err != nil {
		return nil, err
	}
	k, err := firmware.ParsePublic(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// readAtMost reads a whole file that must not be larger.
func readAtMost(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; run it as an account that may read it, with sudo for the daemon's", err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s: larger than the %d bytes that it may have", file, most)
	}
	return b, nil
}

// roomFor tells whether a file of n bytes could be written now.
func roomFor(file string, n int) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return nil // a pipe or a terminal
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return outfile.Explain(file, err)
	}
	_, err = f.Write(make([]byte, n))
	return outfile.Explain(file, errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())))
}
