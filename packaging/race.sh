#!/bin/sh
# The packages that the race detector is run over: those whose code or tests
# start a goroutine. Where none does, nothing can race, and what computes for
# long (fingers, pictures, the vault's torture) computes five times as long
# under it. A package that starts its first one is in the list by itself.
# Without the tests of cmd and of the emulated board, which start programs that
# are built without the detector.
#
#   packaging/race.sh GO
set -eu
go=$1
# A server of net/http serves in goroutines of its own. What time.AfterFunc calls
# in a test only ends a child.
starts='^[[:space:]]*go [a-zA-Z]|[.]Go[(]|httptest[.]New'
$go list -f '{{.ImportPath}} {{.Dir}}' ./... | grep -v -e /cmd/ -e /firmware/qemu | while read -r package dir; do
	if grep -q -E "$starts" "$dir"/*.go; then
		echo "$package"
	fi
done
