#!/usr/bin/env bash
# Installs the Debian packages that are missing, and only these; touches nothing when none is.
#
#   tests/deps.sh build [PACKAGE...]   what a release build needs
#   tests/deps.sh test [PACKAGE...]    what tests/run.sh needs as well
#   tests/deps.sh ... --list           prints the missing packages, one a line, and installs nothing
set -euo pipefail

build=(cmake ninja-build gcc libc6-dev pkg-config git
    libuv1-dev libssl-dev libprotobuf-c-dev protobuf-c-compiler libsodium-dev
    libsqlite3-dev libcurl4-openssl-dev libjansson-dev libyaml-dev libnghttp2-dev)
test=(g++ clang libclang-rt-14-dev clang-format libcmocka-dev python3 python3-jsonschema valgrind faketime ccache curl openssl
    nginx-light libnginx-mod-stream nftables iproute2 procps util-linux binutils ca-certificates
    nghttp2-client python3-h2 softhsm2 opensc libengine-pkcs11-openssl)

usage() {
    echo "usage: tests/deps.sh build|test [PACKAGE...] [--list]" >&2
    exit 2
}

list=no
case "${1:-}" in
build) wanted=("${build[@]}") ;;
test) wanted=("${build[@]}" "${test[@]}") ;;
*) usage ;;
esac
shift
for word in "$@"; do
    case "$word" in
    --list) list=yes ;;
    -*) usage ;;
    *) wanted+=("$word") ;;
    esac
done

command -v dpkg-query >/dev/null || {
    echo "deps.sh: this is no Debian; install what corresponds to: ${wanted[*]}" >&2
    exit 1
}
missing=()
for package in "${wanted[@]}"; do
    # ii: wanted and installed, whatever the rest of the line says.
    state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    [ "${state:0:2}" = ii ] || [ "${state:0:2}" = hi ] || missing+=("$package")
done
if [ "$list" = yes ]; then
    [ ${#missing[@]} -eq 0 ] || printf '%s\n' "${missing[@]}"
    exit 0
fi
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "deps.sh: missing: ${missing[*]}; run as root, or install sudo" >&2
        exit 1
    }
    as_root=(sudo)
fi
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt=(${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0)
"${apt[@]}" update >&2

# nginx is only a program to compare with here. Its package starts a server on port 80 when installed; a
# policy file for the time of the installation keeps every service down.
policy=/usr/sbin/policy-rc.d
kept_down=no
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | ${as_root[@]+"${as_root[@]}"} tee $policy >/dev/null
    ${as_root[@]+"${as_root[@]}"} chmod 755 $policy
    kept_down=yes
fi
lift() { [ $kept_down = no ] || ${as_root[@]+"${as_root[@]}"} rm -f $policy; }
trap lift EXIT
"${apt[@]}" install --no-install-recommends "${missing[@]}" >&2
