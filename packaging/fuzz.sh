#!/bin/sh
# Run every fuzz target of the tree for a while, one after the other.
#
#   packaging/fuzz.sh GO DURATION
set -eu
go=$1
duration=$2
$go list ./... | while read -r package; do
	for target in $($go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "fuzz: $package $target for $duration"
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" "$package" || exit 1
	done
done
