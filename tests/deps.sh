#!/bin/sh
# deps.sh [LIST]: installs the Debian packages that tests/apt.txt, or another list beside it, names and this machine lacks: as root, or by
# sudo without a password.
# Otherwise it prints the one line to type and goes on; the tests concerned skip by name.
cd "$(dirname "$0")" || exit 1
missing=
for package in $(sed 's/#.*//' "${1:-apt.txt}" | awk 'NF {print $1}'); do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then sudo=
elif sudo -n true 2>/dev/null; then sudo='sudo -n'
else
	echo "some tests will skip; to run them all: sudo $install"
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q && $sudo $install
