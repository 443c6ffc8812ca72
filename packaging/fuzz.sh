#!/bin/sh
# Run every fuzz target of the tree for a while, one after the other.
#
#   packaging/fuzz.sh GO DURATION [SECONDS TARGET...]
#
# The targets that are named get at least so many seconds.
set -eu
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
log=$(mktemp)
trap 'rm -f "$log"' EXIT
$go list -f '{{.ImportPath}} {{.Dir}}' ./... | while read -r package dir; do
	for target in $(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		time=$duration
		case $longer in
		*" $target "*) [ "$(seconds "$duration")" -ge "$least" ] || time=${least}s ;;
		esac
		echo "fuzz: $package $target for $time"
		if $go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" >"$log" 2>&1; then
			tail -n 1 "$log"
			continue
		fi
		cat "$log"
		# The go command fails now and then when the time is over in the middle of
		# an input (go.dev/issue/75804). What was found is named in its output.
		grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log" || exit 1
		echo "fuzz: the time was over in the middle of an input; nothing was found"
	done
done
