/*
 * Only in a statically linked `weft` (preset static). A static glibc still
 * loads modules at run time in two places, and modules of another libc than
 * the one linked in crash or lie:
 *
 * - getaddrinfo and getpwuid load what /etc/nsswitch.conf names (resolve,
 *   mymachines, sss). "files" and "dns" are inside libc since 2.34: ask for
 *   these alone.
 * - OpenSSL reads the machine's openssl.cnf, which may name engines and
 *   providers to load. The default provider is inside and enough; whoever
 *   sets OPENSSL_CONF has chosen.
 *
 * Both must hold before main's first call, hence a constructor.
 */
#include <nss.h>
#include <stdlib.h>

__attribute__((constructor)) static void stay_inside(void)
{
    (void)__nss_configure_lookup("hosts", "files dns");
    (void)__nss_configure_lookup("passwd", "files");
    (void)setenv("OPENSSL_CONF", "/dev/null", 0);
}
