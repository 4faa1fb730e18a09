#!/bin/bash
# fresh.sh [TARGET...]: the README's commands on a machine that has nothing: a clone of this repository in a minimal Debian
# root with only make, git and Go. Without a target: `make run` as a user, for a while, and then `make test` as root.
# Needs root, mmdebstrap and a Debian mirror; everything is below .cache/fresh and goes again, but for the log.
#   FRESH_SUITE=bookworm   FRESH_MIRROR=http://...   FRESH_RUN=30 (seconds of make run)   FRESH_KEEP=1 (leave the root there)
set -euo pipefail
top=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
state=$top/.cache/fresh root=$top/.cache/fresh/root
suite=${FRESH_SUITE:-bookworm} seconds=${FRESH_RUN:-30}
[ $# -gt 0 ] || set -- run test

say() { echo "fresh: $*" >&2; }
[ "$(id -u)" = 0 ] || { say "needs root; run: sudo make fresh"; exit 1; }
for program in mmdebstrap unshare git go; do
  command -v "$program" >/dev/null || { say "$program is missing; run: make deps"; exit 1; }
done
[ -z "$(git -C "$top" status --porcelain)" ] || say "only what is committed is tested; there are changes that are not"

mkdir -p "$state"
rm -rf "$root"
trap '[ -n "${FRESH_KEEP:-}" ] || rm -rf "$root"' EXIT

say "a minimal $suite in $root"
options=(--variant=minbase --mode=root --include=make,git,ca-certificates
  --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"'
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*')
if [ -n "$(apt-config dump Acquire::http::Proxy 2>/dev/null)" ]; then # the way to the mirror is the machine's
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  options+=("--aptopt=Acquire::http::Proxy \"$proxy\"")
fi
mmdebstrap "${options[@]}" "$suite" "$root" ${FRESH_MIRROR:+"$FRESH_MIRROR"} >"$state/mmdebstrap.log" 2>&1 ||
  { tail -20 "$state/mmdebstrap.log" >&2; exit 1; }

chroot "$root" useradd --create-home --shell /bin/bash someone
git clone --quiet "$top" "$root/root/mfpgate"
git clone --quiet "$top" "$root/home/someone/mfpgate"
chroot "$root" chown -R someone: /home/someone/mfpgate
cp /etc/resolv.conf /etc/hosts "$root/etc/"
mkdir -p "$root/usr/local/go" "$root/var/cache/modules"

# What is already downloaded here is the first module proxy, the machine's own comes after it.
export goroot modules gosettings root seconds
goroot=$(go env GOROOT) modules=$(go env GOMODCACHE)/cache/download
mkdir -p "$modules"
gosettings="GOPROXY=file:///var/cache/modules,$(go env GOPROXY) GOSUMDB=$(go env GOSUMDB) GONOSUMDB=$(go env GONOSUMDB)"

# Mounts and processes are in namespaces of their own: they end with this script, however it ends.
unshare --mount --pid --fork --kill-child --propagation private /bin/bash -s -- "$@" <<'INSIDE' 2>&1 | tee "$state/log"
set -euo pipefail
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$goroot" "$root/usr/local/go"
mount -o remount,bind,ro "$root/usr/local/go"
mount --bind "$modules" "$root/var/cache/modules"
mount -o remount,bind,ro "$root/var/cache/modules"

# The root of the namespace, not of a process alone: what enters a namespace of its own from here must not get out of it.
cd "$root"
mkdir .machine
pivot_root . .machine
umount -l .machine
rmdir .machine
cd /

# as USER COMMAND...: in that user's clone, with nothing of this machine's environment but NEED.
as() {
  local user=$1 home; shift
  home=$(getent passwd "$user" | cut -d: -f6)
  # shellcheck disable=SC2086 # settings have no spaces
  setpriv --reuid="$user" --regid="$user" --init-groups env -i $gosettings ${NEED:+NEED=$NEED} \
    HOME="$home" USER="$user" LANG=C.UTF-8 PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c 'cd "$HOME/mfpgate" && exec "$@"' - "$@"
}
for target; do
  echo "fresh: make $target"
  began=$SECONDS
  case $target in
  run)
    as someone make build
    status=0
    as someone timeout --signal=INT --kill-after=30 "$seconds" make run || status=$?
    [ "$status" = 124 ] || { echo "fresh: make run ended by itself or did not stop: exit $status, want it to run until it is interrupted"; exit 1; }
    ;;
  *) as root make "$target" ;;
  esac
  echo "fresh: make $target: good, $((SECONDS - began)) s"
done
INSIDE
