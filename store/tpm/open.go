package tpm

import (
	"fmt"
	"os"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// open opens a character device, or the unix socket of a software TPM.
func open(path string) (transport.TPMCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch info.Mode().Type() {
	case os.ModeSocket:
		return linuxudstpm.Open(path)
	case os.ModeDevice | os.ModeCharDevice:
		return linuxtpm.Open(path)
	}
	return nil, fmt.Errorf("it is no TPM device (%v)", info.Mode())
}
