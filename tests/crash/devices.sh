# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: Waybill contributors
#
# For scripts that mount file systems of their own: sourced, not run. Gives them root, a scratch
# directory, loop devices, and an end that takes everything back.
# shellcheck shell=bash

# Runs the script anew as root. Arguments: the script and its own.
become_root() {
    ((EUID != 0)) || return 0
    if ! command -v sudo >/dev/null; then
        echo "missing: root, or sudo, to mount file systems" >&2
        exit 1
    fi
    exec sudo -- "$@"
}

need_programs() {
    local program missing=()
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if ((${#missing[@]})); then
        echo "missing: ${missing[*]}" >&2
        exit 1
    fi
}

# Sets $scratch and has it, and what is mounted in it, removed at the end.
make_scratch() {
    scratch=$(mktemp -d)
    mounted=$scratch/mounted
    loops=()
    mkdir "$mounted"
    trap take_back EXIT
    trap 'exit 1' INT TERM HUP
}

take_back() {
    local device
    # Not mountpoint: it asks the file system, and an XFS that was shut down answers nothing.
    if grep -qF " $mounted " /proc/self/mountinfo; then
        umount "$mounted" || umount -l "$mounted"
    fi
    for device in "${loops[@]}"; do
        losetup -d "$device"
    done
    rm -rf "$scratch"
}

# A sparse file of so many MiB as a block device; its path in $device.
make_device() {
    local image=$scratch/image-${#loops[@]}
    truncate -s "$1M" "$image"
    if ! device=$(losetup -f --show "$image"); then
        echo "missing: a loop device" >&2
        exit 1
    fi
    loops+=("$device")
}
