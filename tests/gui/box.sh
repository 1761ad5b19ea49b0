#!/bin/bash
# Run a command in a folder that holds a whole Debian trixie with Blender 4.3 and a virtual display.
#
# usage: box.sh DIR COMMAND...     (as root; COMMAND sees DIR as its root folder)
#
# Makes DIR first when it is missing: about 3.5 GB and a few minutes. Debian's Blender comes with its
# own Python and its own torch, so nothing on the host is touched. DIR can be deleted at any time: what
# is mounted in it belongs to this process alone and goes with it.
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: box.sh DIR COMMAND..." >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "box.sh: chroot needs root: run this as root." >&2; exit 2; }
if [ -z "${IN_BOX_NAMESPACE:-}" ]; then
    IN_BOX_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi
unset IN_BOX_NAMESPACE
dir=$(realpath -m "$1")
shift

packages=(
    blender xvfb xauth xdotool imagemagick libgl1-mesa-dri
    python3-numpy python3-torch python3-opencv python3-safetensors
    libopenblas0-pthread # without it torch falls back to the reference BLAS, 30 times slower
)
stamp="$dir/.image-to-mesh-box-1"

mount_host() {
    mountpoint -q "$dir/proc" || mount -t proc proc "$dir/proc"
    mountpoint -q "$dir/dev" || mount --bind /dev "$dir/dev"
}

make_box() {
    command -v debootstrap >/dev/null || {
        echo "box.sh: debootstrap is missing: apt-get install debootstrap" >&2
        exit 2
    }
    if [ ! -e "$dir/etc/debian_version" ]; then
        rm -rf --one-file-system "$dir"
        mkdir -p "$dir"
        debootstrap --variant=minbase trixie "$dir"
    fi
    mount_host
    cp /etc/resolv.conf "$dir/etc/resolv.conf"
    ln -sf /proc/self/mounts "$dir/etc/mtab"
    printf 'path-exclude=/usr/share/%s/*\n' doc man locale >"$dir/etc/dpkg/dpkg.cfg.d/slim"
    export DEBIAN_FRONTEND=noninteractive
    chroot "$dir" apt-get update -q
    chroot "$dir" apt-get install -q -y --no-install-recommends "${packages[@]}"
    chroot "$dir" apt-get clean
    touch "$stamp"
}

export LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ -e "$stamp" ] || make_box >&2
mount_host
exec chroot "$dir" "$@"
