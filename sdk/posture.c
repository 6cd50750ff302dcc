#include "sdk/posture.h"
#include "proto/base/text.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

void wf_posture_fill(struct wf_posture *p)
{
    struct utsname name;

    memset(p, 0, sizeof *p);
    weft__wire__posture__init(&p->message);
    if (uname(&name) == 0) {
        snprintf(p->os, sizeof p->os, "%s", name.sysname);
        snprintf(p->os_version, sizeof p->os_version, "%s", name.release);
        snprintf(p->arch, sizeof p->arch, "%s", name.machine);
    }
    for (char *c = p->os; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    wf_make_printable(p->os, strlen(p->os));
    wf_make_printable(p->os_version, strlen(p->os_version));
    wf_make_printable(p->arch, strlen(p->arch));
    snprintf(p->agent, sizeof p->agent, "libweft/%s", WEFT_VERSION);
    p->message.os = p->os;
    p->message.os_version = p->os_version;
    p->message.arch = p->arch;
    p->message.agent = p->agent;
}
