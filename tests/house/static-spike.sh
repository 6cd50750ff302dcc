#!/usr/bin/env bash
# A static program for any Linux can be made of Debian's archives: linked without a loader, run in a root
# that holds nothing but /etc, with a name service configuration that asks for a module, and that module. It
# must work and not load it. Without the file KEEP_INSIDE (sdk/cli/static.c) it does load it: shown as well.
set -euo pipefail

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cat >"$room/spike.c" <<'C'
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pwd.h>
#include <protobuf-c/protobuf-c.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>
#include <yaml.h>

static int resolved = 1;

static void got(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    (void)request;
    resolved = status;
    uv_freeaddrinfo(found);
}

int main(void)
{
    uv_getaddrinfo_t request;
    SSL_CTX *tls = SSL_CTX_new(TLS_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    json_t *json = json_loads("{}", 0, NULL);
    int major, minor, patch;
    yaml_get_version(&major, &minor, &patch);
    (void)getpwuid(getuid());
    if (tls == NULL || key == NULL || json == NULL || sodium_init() < 0 || protobuf_c_version_number() == 0)
        return 1;
    if (uv_getaddrinfo(uv_default_loop(), &request, got, "weft.test", "80", NULL) != 0)
        return 2;
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return resolved == 0 ? 0 : 3;
}
C
libraries=$(pkg-config --static --libs openssl libuv-static libsodium libprotobuf-c jansson yaml-0.1)
mkdir -p "$room/root/etc"
printf 'hosts: resolve mymachines files dns\npasswd: sss files\n' >"$room/root/etc/nsswitch.conf"
echo '192.0.2.1 weft.test' >"$room/root/etc/hosts"

# A module that shows that it was loaded: it ends the program with 77. It needs no libc, so an empty root
# is enough for it.
cat >"$room/module.c" <<'C'
__attribute__((constructor)) static void loaded(void)
{
#ifdef __aarch64__
    __asm__ volatile("mov x0, #77; mov x8, #94; svc #0" : : : "x0", "x8");
#else
    __asm__ volatile("syscall" : : "a"(231), "D"(77));
#endif
}
C
modules=$room/root/lib/$(uname -m)-linux-gnu
mkdir -p "$modules"
"${CC:-cc}" -shared -fPIC -nostdlib -fno-stack-protector "$room/module.c" -o "$modules/libnss_resolve.so.2"

enter=(chroot)
[ "$(id -u)" = 0 ] || enter=(unshare --user --map-root-user chroot)

# build_and_enter NAME [SOURCE]: prints the exit status of the program inside the empty root.
build_and_enter() {
    # shellcheck disable=SC2086
    "${CC:-cc}" -D_GNU_SOURCE -fPIE -static-pie "$room/spike.c" ${2:-} -o "$room/root/$1" $libraries 2>"$room/said" || {
        cat "$room/said" >&2
        return 1
    }
    if readelf -lW "$room/root/$1" | grep -q INTERP; then
        echo "the program wants a loader" >&2
        return 1
    fi
    local status=0
    "${enter[@]}" "$room/root" "/$1" || status=$?
    echo "$status"
}

kept=$(build_and_enter kept "$KEEP_INSIDE")
plain=$(build_and_enter plain)
echo "with $(basename "$KEEP_INSIDE"): exit $kept (wanted 0); without: exit $plain (wanted 77, a module was loaded)"
[ "$kept" = 0 ] && [ "$plain" = 77 ]
