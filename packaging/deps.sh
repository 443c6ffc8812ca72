#!/bin/sh
# Install what is missing to build, run and test faceprint on Debian 12 or
# Raspberry Pi OS bookworm.
#
#   packaging/deps.sh GO_DIR build|firmware|test|pam|night...
#
# Asks sudo only when not root and only when something is missing. What a
# machine has from elsewhere (its own Go, node, compiler) is used as it is.
# GO_DIR is where a Go toolchain is put when the machine's is too old; bin/go
# beside it is a link to the one that is used.
set -eu
here=$(dirname "$0")
[ $# -ge 2 ] || { echo "usage: $0 GO_DIR build|firmware|test|pam|night..." >&2; exit 2; }
godir=$1
shift

say() { printf 'deps: %s\n' "$*"; }
fail() {
	printf 'deps: %s\n' "$1" >&2
	shift
	for line in "$@"; do printf '      -> %s\n' "$line" >&2; done
	exit 1
}

# --- packages ---------------------------------------------------------------
# A word is a Debian package; COMMAND=PACKAGE asks for the package only where
# the command is missing, so that a node or a compiler from elsewhere is kept.
build='gcc=gcc g++=g++ git=git npm=npm pkg-config=pkg-config ca-certificates
	libopencv-dev libopencv-contrib-dev'
firmware='gcc=gcc make=make ca-certificates qemu-system-arm=qemu-system-arm arm-none-eabi-gcc=gcc-arm-none-eabi
	libnewlib-arm-none-eabi'
test="$firmware"'
	sx=lrzsz libcmocka-dev socat=socat chromium=chromium zbarimg=zbar-tools swtpm=swtpm strace=strace
	dbus-daemon=dbus-daemon fprintd libpam-fprintd pamtester=pamtester libpam0g-dev libsystemd-dev polkitd
	qemu-aarch64-static=qemu-user-static gnome-keyring-daemon=gnome-keyring libpam-gnome-keyring secret-tool=libsecret-tools'
pam='gcc=gcc libpam0g-dev libsystemd-dev'
night='cppcheck=cppcheck kotlinc=kotlin clang=clang libclang-rt-14-dev cage=cage Xwayland=xwayland
	qemu-system-x86_64=qemu-system-x86'

want=
for group in "$@"; do
	case $group in
	build) want="$want $build" ;;
	firmware) want="$want $firmware" ;;
	test) want="$want $test" ;;
	pam) want="$want $pam" ;;
	night) want="$want $night" ;;
	*) fail "no group '$group'" "groups: build firmware test pam night" ;;
	esac
done

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }
missing=
for word in $want; do
	case $word in
	*=*) command -v "${word%%=*}" >/dev/null 2>&1 || missing="$missing ${word#*=}" ;;
	*) installed "$word" || missing="$missing $word" ;;
	esac
done

distribution=unknown
[ ! -r /etc/os-release ] || distribution=$(. /etc/os-release && printf '%s %s' "${ID:-?}" "${VERSION_CODENAME:-?}")
supported() {
	case $distribution in
	"debian bookworm" | "raspbian bookworm") return 0 ;;
	*) return 1 ;;
	esac
}
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1; then sudo "$@"; else
		fail "not root, and sudo is not installed" "as root: $*"
	fi
}
apt_install() {
	command -v apt-get >/dev/null 2>&1 || fail "this system has no apt" "install by hand what these Debian packages hold: $*"
	supported || fail "$distribution is not supported; faceprint is built on Debian 12 and Raspberry Pi OS (bookworm)" \
		"elsewhere install OpenCV 4.6 with its headers, Go 1.26 and npm, then run 'make build'" "missing here: $*"
	free=$(df -Pk /usr | awk 'NR==2 {print $4}')
	[ "$free" -ge 2500000 ] || fail "only $((free / 1024)) MiB are free on /usr; the packages need about 2500" "make room and run it again"
	say "installing with apt: $*"
	as_root apt-get update -q || fail "apt-get update failed" "is there a network, and is the clock right?"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" ||
		fail "apt-get install failed; its own words are above" "mend that and run it again: what is already installed is kept"
}
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || apt_install $missing

# --- Go ---------------------------------------------------------------------
# go.mod names the release. From 1.21 a go command fetches it by itself; the
# distribution's is 1.19, which can still fetch the same toolchain as the
# module that it is, checked by the checksum database.
need=$(awk '$1 == "go" {print $2}' "$here/../go.mod")
best=$(awk '$1 == "toolchain" {sub("go", "", $2); print $2}' "$here/../go.mod")
version_of() { "$1" env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9.]*\).*/\1/p'; }
at_least() { # at_least HAVE WANT, in major.minor
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$2" ]
}
find_go() {
	for go in "$godir/bin/go" "$(command -v go || true)" /usr/local/go/bin/go; do
		[ -n "$go" ] && [ -x "$go" ] || continue
		have=$(cd / && version_of "$go")
		[ -n "$have" ] || continue
		at_least "$have" "$need" && return 0
		at_least "$have" 1.21 && [ "$(cd / && "$go" env GOTOOLCHAIN)" != local ] && return 0
	done
	return 1
}
if ! find_go; then
	case $(uname -m) in
	x86_64) goarch=amd64 ;;
	aarch64) goarch=arm64 ;;
	armv6l | armv7l) goarch=armv6l ;;
	*) fail "Go $need is needed and no toolchain is known for $(uname -m)" "install Go $need and put it on the PATH" ;;
	esac
	command -v go >/dev/null 2>&1 || [ -x /usr/local/go/bin/go ] || apt_install golang-go
	old=$(command -v go || echo /usr/local/go/bin/go)
	say "Go $(cd / && version_of "$old") is too old: fetching Go $best through the module proxy ..."
	mod=golang.org/toolchain@v0.0.1-go$best.linux-$goarch
	tmp=$(mktemp -d)
	trap 'chmod -R u+w "$tmp" 2>/dev/null; rm -rf "$tmp"' EXIT
	# GOFLAGS= keeps a -mod=... of the user's out of a command that has no module;
	# the directory is from -json because the cache may be anywhere.
	got=$(cd "$tmp" && GOFLAGS='' GOTOOLCHAIN=local "$old" mod download -json "$mod") ||
		fail "Go $best could not be fetched" "is there a network? otherwise install Go $need by hand (https://go.dev/doc/install) and put it on the PATH"
	from=$(printf '%s\n' "$got" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
	[ -d "$from" ] || fail "Go $best was fetched but not unpacked" "install Go $need by hand (https://go.dev/doc/install)"
	rm -rf "$godir.new"
	mkdir -p "$(dirname "$godir")"
	cp -R "$from" "$godir.new" && chmod -R u+w "$godir.new" && find "$godir.new/bin" "$godir.new/pkg/tool" -type f -exec chmod +x {} + ||
		fail "Go $best could not be put into $godir" "is the disk full?"
	rm -rf "$godir" && mv "$godir.new" "$godir"
	find_go || fail "the Go that was fetched does not start" "install Go $need by hand (https://go.dev/doc/install)"
	say "Go $best is in $godir"
fi
# One name for it, which the Makefile knows before it is there.
bin=$(dirname "$godir")/bin
mkdir -p "$bin" && ln -sfn "$go" "$bin/go" || fail "cannot link $go into $bin" "is the folder someone else's?"
