#!/bin/bash
# Make a folder with a whole Debian trixie in it: Blender 4.3, a virtual display and what the extension imports.
#
# usage: make_blender.sh DIR      (as root; about 3.5 GB and a few minutes; does nothing when DIR is complete)
#
# Debian's Blender comes with its own Python and its own torch, so nothing on the host is touched.
# The chroot is a build product: delete it whenever you like, after `umount DIR/proc DIR/dev`.
set -euo pipefail

dir=$(realpath -m "${1:?usage: make_blender.sh DIR}")
stamp="$dir/.image-to-mesh-ready-2"
packages=(
    blender xvfb xauth xdotool imagemagick libgl1-mesa-dri
    python3-numpy python3-torch python3-opencv python3-safetensors
    libopenblas0-pthread # without it torch falls back to the reference BLAS, 30 times slower
)

if [ "$(id -u)" != 0 ]; then
    echo "make_blender.sh: debootstrap and chroot need root: run this as root." >&2
    exit 2
fi
command -v debootstrap >/dev/null || {
    echo "make_blender.sh: debootstrap is missing: apt-get install debootstrap" >&2
    exit 2
}

mount_host() {
    mountpoint -q "$dir/proc" || mount -t proc proc "$dir/proc"
    mountpoint -q "$dir/dev" || mount --bind /dev "$dir/dev"
}

if [ ! -e "$stamp" ]; then
    # --force-check-gpg is debootstrap's default where the keyring is installed; the archive is signed.
    if [ ! -e "$dir/etc/debian_version" ]; then
        rm -rf "$dir"
        mkdir -p "$dir"
        debootstrap --variant=minbase trixie "$dir"
    fi
    cp /etc/resolv.conf "$dir/etc/resolv.conf"
    mount_host
    # Debian's archive is the same everywhere; documentation and translations are not needed here.
    printf 'path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n' \
        >"$dir/etc/dpkg/dpkg.cfg.d/slim"
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C
    chroot "$dir" apt-get update -q
    chroot "$dir" apt-get install -q -y --no-install-recommends "${packages[@]}"
    chroot "$dir" apt-get clean
    touch "$stamp"
fi
mount_host
chroot "$dir" blender --version | head -1
