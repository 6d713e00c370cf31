# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: Waybill contributors
#
# For tests/run and tests/targets, which source it.

install_packages() { # packages…
    local missing=() package
    for package in "$@"; do
        # Not -q: dpkg-query would be killed by the pipe, and that counts.
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep '^ii' >/dev/null ||
            missing+=("$package")
    done
    if ((${#missing[@]})); then
        local as_root=()
        ((EUID == 0)) || as_root=(sudo)
        echo "== Installing: ${missing[*]}"
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
}
