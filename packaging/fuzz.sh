#!/bin/sh
# Run every fuzz target of the tree for a while, one after the other. A
# package's tests are built once, however many targets they have: with one
# `go test -fuzz` a target, linking took longer than the fuzzing.
#
#   packaging/fuzz.sh GO DURATION [SECONDS TARGET...]
#
# The targets that are named get at least so many seconds. In the end it says what
# went into fuzzing and what into building the tests.
set -eu
begun=$(date +%s)
fuzzed=0
count=0
go=$1
duration=$2
shift 2
least=${1:-0}
[ $# -eq 0 ] || shift
longer=" $* "

seconds() {
	case $1 in
	*h) echo $((${1%h} * 3600)) ;;
	*m) echo $((${1%m} * 60)) ;;
	*) echo "${1%s}" ;;
	esac
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log
cache=$($go env GOCACHE)/fuzz
$go list -f '{{.ImportPath}} {{.Dir}}' ./... >"$scratch/packages"
while read -r package dir; do
	targets=$(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p')
	[ -n "$targets" ] || continue
	$go test -c -fuzz . -o "$scratch/test" "$package"
	for target in $targets; do
		time=$duration
		case $longer in
		*" $target "*) [ "$(seconds "$duration")" -ge "$least" ] || time=${least}s ;;
		esac
		echo "fuzz: $package $target for $time"
		fuzzed=$((fuzzed + $(seconds "$time")))
		count=$((count + 1))
		if (cd "$dir" && "$scratch/test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" \
			-test.fuzzcachedir "$cache/$package" -test.timeout 0) >"$log" 2>&1 </dev/null; then
			tail -n 2 "$log" | head -n 1
			continue
		fi
		cat "$log"
		# Fuzzing fails now and then when the time is over in the middle of an
		# input (go.dev/issue/75804). What was found is named in its output.
		grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log" || exit 1
		echo "fuzz: the time was over in the middle of an input; nothing was found"
	done
done <"$scratch/packages"
echo "fuzz: $count targets, $fuzzed s of fuzzing and $(($(date +%s) - begun - fuzzed)) s of building and starting"
