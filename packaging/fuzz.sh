#!/bin/sh
# Run every fuzz target of the tree for a while, one after the other.
#
#   packaging/fuzz.sh GO DURATION
set -eu
go=$1
duration=$2
$go list -f '{{.ImportPath}} {{.Dir}}' ./... | while read -r package dir; do
	for target in $(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		echo "fuzz: $package $target for $duration"
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" "$package" || exit 1
	done
done
