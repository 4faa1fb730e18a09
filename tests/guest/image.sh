#!/bin/bash
# image.sh DIR: makes the guest: disk.img (a Debian root on ext4), initrd.img and vmlinux in DIR. Needs root; no loop device, no mount.
#   GUEST_MIRROR=http://...   another mirror than the machine's own
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
root=$out/root
mkdir -p "$out"
rm -rf "$root"
trap 'rm -rf "$root"' EXIT

packages=systemd-sysv,udev,dbus,kmod,linux-image-amd64,initramfs-tools,zstd,libusb-1.0-0,usbutils,iproute2,procps
options=(--variant=minbase --mode=root --include="$packages"
  --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"'
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*')
if [ -n "$(apt-config dump Acquire::http::Proxy 2>/dev/null)" ]; then # the way to the mirror is the machine's
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  options+=("--aptopt=Acquire::http::Proxy \"$proxy\"")
fi
mmdebstrap "${options[@]}" \
  --essential-hook="mkdir -p \"\$1/etc/initramfs-tools/conf.d\"
    printf 'MODULES=list\nCOMPRESS=zstd\n' >\"\$1/etc/initramfs-tools/conf.d/guest.conf\"
    printf '%s\n' virtio_pci virtio_blk ext4 9p 9pnet_virtio virtio_rng >\"\$1/etc/initramfs-tools/modules\"
    echo do_symlinks=no >\"\$1/etc/kernel-img.conf\"" \
  --customize-hook="install -m 644 '$here/boot/guest-job.service' \"\$1/etc/systemd/system/\"
    install -m 755 '$here/boot/guest-job' \"\$1/usr/local/sbin/\"" \
  --customize-hook='chroot "$1" systemctl enable guest-job.service
    chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service e2scrub_all.timer fstrim.timer dpkg-db-backup.timer
    for d in gpu media net infiniband iio staging scsi ata hwmon mtd isdn platform; do rm -rf "$1"/lib/modules/*/kernel/drivers/$d; done
    rm -rf "$1"/lib/modules/*/kernel/sound
    chroot "$1" depmod "$(ls "$1/lib/modules")"
    echo guest >"$1/etc/hostname"
    echo "127.0.0.1 localhost guest" >"$1/etc/hosts"
    echo "/dev/vda / ext4 rw,noatime 0 1" >"$1/etc/fstab"' \
  bookworm "$root" ${GUEST_MIRROR:+"$GUEST_MIRROR"} >"$out/mmdebstrap.log" 2>&1 || { tail -20 "$out/mmdebstrap.log" >&2; exit 1; }

cp "$root"/boot/initrd.img-* "$out/initrd.img"
# Booted as it is, by PVH: an emulated processor takes half a minute to unpack it.
compressed=$(echo "$root"/boot/vmlinuz-*)
begins=$(LC_ALL=C grep -abom1 $'\xfd7zXZ' "$compressed" | head -1 | cut -d: -f1)
xz -dcq --single-stream >"$out/vmlinux" < <(tail -c +$((begins + 1)) "$compressed")

rm -f "$out/disk.img" "$out/mark"
truncate -s 4G "$out/disk.img"
mke2fs -q -t ext4 -O ^metadata_csum_seed -d "$root" -L root "$out/disk.img"
