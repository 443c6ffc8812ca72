#!/bin/sh
# Unpack Debian packages without installing them: programs that a test runs and
# that would take the machine over when installed (greetd becomes its display
# manager).
#
#   packaging/unpack.sh DIR PACKAGE...
set -eu
[ $# -ge 2 ] || { echo "usage: $0 DIR PACKAGE..." >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
for package in "$@"; do
	[ ! -d "$dir/$package" ] || continue
	echo "unpack: $package"
	rm -rf "$dir/$package.new"
	mkdir "$dir/$package.new"
	(
		cd "$dir/$package.new"
		# Into a folder of the user's, which apt's own user may not enter: as who asks.
		apt-get download -q -o APT::Sandbox::User="$(id -un)" "$package" || {
			if [ "$(id -u)" = 0 ]; then apt-get update -q; else sudo apt-get update -q; fi
			apt-get download -q -o APT::Sandbox::User="$(id -un)" "$package"
		}
		dpkg-deb -x ./*.deb .
		rm -f ./*.deb
	) || {
		echo "unpack: $package could not be fetched with apt; is there a network?" >&2
		exit 1
	}
	mv "$dir/$package.new" "$dir/$package"
done
