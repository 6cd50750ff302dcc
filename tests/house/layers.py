#!/usr/bin/env python3
"""Includes point down only: which floor may include which, and where a dependency may be named.

The picture is in docs/development.md. A floor may include itself and what SEES lists; <weft/*.h> is open
to all. A third-party header is allowed only in the files that ALLOWED lists. A header that names one (unless
it is in SHOWN), is called internal.h, or includes such a header, is for its own floor (and tests) alone. No
file includes itself in a circle.
"""

import fnmatch
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import house  # noqa: E402

BELOW_NODE = ["proto/base", "proto/wire", "pki", "proto/link", "proto/http"]
SEES = {
    "proto/base": [],
    "proto/wire": ["proto/base"],
    "pki": ["proto/base", "proto/wire"],
    "proto/link": ["proto/base", "proto/wire", "pki"],
    "proto/http": ["proto/base", "proto/wire", "pki", "proto/link"],
    "proto/node": BELOW_NODE,
    "controller": BELOW_NODE + ["proto/node"],
    "router": BELOW_NODE + ["proto/node"],
    "sdk": ["proto/base", "proto/wire", "pki", "proto/link"],
    "sdk/cli": ["proto/base", "pki", "proto/http", "proto/node"],
    "tunneler": ["proto/base", "proto/node"],
    "examples": [],
    "tests": None,  # sees all
}

# Headers that belong to libc or the kernel. Anything else in <> must be listed in ALLOWED.
LIBC = set(
    """aio.h alloca.h assert.h complex.h ctype.h dirent.h dlfcn.h elf.h endian.h err.h errno.h fcntl.h
    fenv.h float.h fnmatch.h ftw.h getopt.h glob.h grp.h ifaddrs.h inttypes.h iso646.h langinfo.h libgen.h
    limits.h link.h locale.h malloc.h math.h mntent.h netdb.h nss.h paths.h poll.h pthread.h pwd.h regex.h
    resolv.h sched.h search.h semaphore.h setjmp.h signal.h spawn.h stdalign.h stdarg.h stdatomic.h
    stdbool.h stddef.h stdint.h stdio.h stdlib.h stdnoreturn.h string.h strings.h sysexits.h syslog.h
    termios.h threads.h time.h uchar.h unistd.h utime.h wchar.h wctype.h""".split()
)
LIBC_FOLDERS = ("sys/", "netinet/", "arpa/", "net/", "linux/", "asm/")

PROGRAMS = ["controller/*", "router/*", "tunneler/*", "sdk/cli/*"]
ALLOWED = {
    "openssl/*": ["pki/*"],
    "uv.h": ["proto/link/*", "proto/node/*", "proto/http/*", "sdk/*"] + PROGRAMS,
    "sqlite3.h": ["controller/store*.c"],
    "yaml.h": ["*.c"],
    "sodium.h": ["pki/*.c"],
    "curl/curl.h": ["controller/jwks.c"],
    "jansson.h": ["pki/*", "proto/node/*", "proto/http/*", "sdk/*"] + PROGRAMS,
    "protobuf-c/*": ["proto/wire/*"],
    "nghttp2/*": ["proto/http/*.c"],
}
# What the floors above a header may see through it.
SHOWN = ["uv.h", "protobuf-c/*"]
# At most this many files of the whole tree (tests aside) may name the header.
AT_MOST = {"yaml.h": 1, "nghttp2/*": 1}

# A file outside ALLOWED may still name a header if it says so and why: "house: names sodium.h because ...".
EXCUSE = re.compile(r"house: names ([\w./-]+) because \w+")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.M)
GENERATED = re.compile(r"\.pb-c\.h$")


def floor_of(path):
    """The longest floor the path is in ("sdk/cli" before "sdk"), or None."""
    return max((f for f in SEES if path.startswith(f + "/")), key=len, default=None)


def matches(path, patterns):
    # "sdk/*.c" must not reach into sdk/cli: a star stays inside one folder, except in "*.c" alone.
    return any(
        fnmatch.fnmatchcase(path, p) and (p == "*.c" or p.count("/") == path.count("/"))
        for p in patterns
    )


def check(root):
    refusals = []
    sources = house.files(root, ".c", ".h")
    known = set(sources)
    edges = {path: [] for path in sources}
    named = {}
    crossing = []
    for path in sources:
        floor = floor_of(path)
        text = house.read(root, path)
        excused = set(EXCUSE.findall(text))
        if floor is None:
            refusals.append(f"{path}: is on no floor; move it to one of {', '.join(SEES)}")
            continue
        code = house.code_only(text, keep_strings=True)
        for match in INCLUDE.finditer(code):
            where = f"{path}:{code.count(chr(10), 0, match.start()) + 1}"
            quoted, angled = match.groups()
            if angled:
                refusals += check_angled(path, floor, angled, where, excused, named)
                for folder in ("proto/base/include/", "sdk/include/"):
                    if folder + angled in known:
                        edges[path].append(folder + angled)
                continue
            target = floor_of(quoted)
            if target is None or (quoted not in known and not GENERATED.search(quoted)):
                if floor == "tests" and os.path.dirname(path) + "/" + quoted in known:
                    edges[path].append(os.path.dirname(path) + "/" + quoted)
                    continue
                refusals.append(f'{where}: "{quoted}" is no file named by its path from the root')
                continue
            if "/include/" in quoted:
                refusals.append(f'{where}: "{quoted}" is a public header; include it as <weft/...>')
            edges[path].append(quoted)
            crossing.append((where, floor, target, quoted))
            if SEES[floor] is not None and target != floor and target not in SEES[floor]:
                sees = ", ".join(SEES[floor]) or "only <weft/*.h>"
                refusals.append(f'{where}: {floor} must not include {target} ("{quoted}"); it sees {sees}')
    hidden = {p for pattern, paths in named.items() if pattern not in SHOWN for p in paths}
    internal = internal_headers(edges, hidden)
    for where, floor, target, quoted in crossing:
        if quoted in internal and floor not in (target, "tests"):
            refusals.append(f'{where}: "{quoted}" is internal to {target}')
    for header, most in AT_MOST.items():
        if len(named.get(header, [])) > most:
            refusals.append(f"{named[header][most]}: <{header}> is already named in {named[header][0]}")
    return refusals + circles(edges)


def internal_headers(edges, hidden):
    """Headers in hidden or called internal.h, and those that include one: what is inside shows through."""
    internal = {path for path in edges if path.endswith("/internal.h") or path in hidden}
    grown = True
    while grown:
        more = {p for p, seen in edges.items() if p.endswith(".h") and internal & set(seen)} - internal
        internal |= more
        grown = bool(more)
    return internal


def check_angled(path, floor, header, where, excused, named):
    if header in LIBC or header.startswith(LIBC_FOLDERS) or floor == "tests":
        return []
    if re.fullmatch(r"weft/\w+\.h", header):
        if floor in ("proto/base", "proto/wire", "pki", "proto/link", "proto/http", "proto/node"):
            if header != "weft/err.h":
                return [f"{where}: {floor} is below the SDK; of the public headers it sees <weft/err.h>"]
        return []
    for pattern, places in ALLOWED.items():
        if fnmatch.fnmatchcase(header, pattern):
            named.setdefault(pattern, []).append(path)
            if matches(path, places) or header in excused or floor == "examples":
                return [] if floor != "examples" else [f"{where}: examples see only <weft/*.h>"]
            return [f"{where}: <{header}> is named only in {', '.join(places) or 'tests'}"]
    return [f"{where}: <{header}> is no known dependency; see ALLOWED in tests/house/layers.py"]


def circles(edges):
    refusals, state, trail = [], {}, []

    def visit(path):
        state[path] = "open"
        trail.append(path)
        for target in edges.get(path, []):
            if state.get(target) == "open":
                loop = trail[trail.index(target) :] + [target]
                refusals.append(f"{path}: includes in a circle: {' -> '.join(loop)}")
            elif target not in state:
                visit(target)
        trail.pop()
        state[path] = "done"

    for path in sorted(edges):
        if path not in state:
            visit(path)
    return refusals


CLEAN = {
    "proto/base/include/weft/err.h": "#include <stdint.h>\n",
    "proto/base/buf.h": "#include <weft/err.h>\n",
    "proto/wire/frame.h": '#include "proto/base/buf.h"\n#include "proto/wire/weft.pb-c.h"\n',
    "pki/key.c": '#include <openssl/evp.h>\n#include <sodium.h>\n#include "proto/wire/frame.h"\n',
    "pki/key.h": "#include <stddef.h>\n",
    "proto/link/link.h": '#include "pki/key.h"\n#include <uv.h>\n',
    "proto/node/config.c": '#include "proto/link/link.h"\n#include <yaml.h>\n',
    "proto/node/node.h": "",
    "sdk/include/weft/weft.h": "#include <weft/err.h>\n",
    "sdk/conn.h": "",
    "sdk/conn.c": '#include "proto/link/link.h"\n#include <weft/weft.h>\n#include <uv.h>\n',
    "sdk/cli/main.c": '#include <weft/weft.h>\n#include "proto/node/node.h"\n',
    "controller/store_sqlite.c": "#include <sqlite3.h>\n",
    "controller/api.h": "",
    "router/main.c": '#include "proto/node/node.h"\n#include <uv.h>\n',
    "tunneler/main.c": '#include "proto/node/node.h"\n#include <weft/weft.h>\n',
    "examples/echo.c": "#include <weft/weft.h>\n#include <stdio.h>\n",
    "tests/pki/test_key.c": '#include "controller/api.h"\n#include <cmocka.h>\n#include "help.h"\n',
    "tests/pki/help.h": "",
}
PLANTED = [
    ("base sees wire", {"proto/base/x.c": '#include "proto/wire/frame.h"\n'}, "proto/base must not"),
    ("wire sees pki", {"proto/wire/x.h": '#  include "pki/key.h"\n'}, "proto/wire must not"),
    ("link sees node", {"proto/link/x.c": '#include "proto/node/node.h"\n'}, "proto/link must not"),
    ("siblings", {"router/x.c": '#include "controller/api.h"\n'}, "router must not include controller"),
    ("sdk sees node", {"sdk/x.c": '#include "proto/node/node.h"\n'}, "sdk must not include proto/node"),
    ("cli sees the sdk's inside", {"sdk/cli/x.c": '#include "sdk/conn.h"\n'}, "must not include sdk"),
    ("sdk sees cli", {"sdk/x.c": '#include "sdk/cli/y.h"\n', "sdk/cli/y.h": ""}, "include sdk/cli"),
    ("tunneler sees pki", {"tunneler/x.c": '#include "pki/key.h"\n'}, "tunneler must not"),
    ("example sees base", {"examples/x.c": '#include "proto/base/buf.h"\n'}, "examples must not"),
    ("example sees uv", {"examples/x.c": "#include <uv.h>\n"}, "only <weft/*.h>"),
    ("openssl outside pki", {"proto/link/x.c": "#include <openssl/ssl.h>\n"}, "is named only in"),
    (
        "openssl through a header",
        {"pki/x.h": "#include <openssl/ssl.h>\n", "router/x.c": '#include "pki/x.h"\n'},
        '"pki/x.h" is internal to pki',
    ),
    (
        "internal from outside",
        {"proto/link/x.c": '#include "pki/internal.h"\n', "pki/internal.h": "#include <openssl/evp.h>\n"},
        "is internal to pki",
    ),
    (
        "internal from outside, through a header",
        {
            "proto/link/x.c": '#include "pki/deep.h"\n',
            "pki/deep.h": '#include "pki/internal.h"\n',
            "pki/internal.h": "",
        },
        '"pki/deep.h" is internal to pki',
    ),
    ("uv in pki", {"pki/x.c": "#include <uv.h>\n"}, "is named only in"),
    ("uv in a public header", {"sdk/include/weft/x.h": "#include <uv.h>\n"}, "is named only in"),
    ("sqlite outside the store", {"controller/x.c": "#include <sqlite3.h>\n"}, "is named only in"),
    ("sodium outside pki", {"router/x.c": "#include <sodium.h>\n"}, "is named only in"),
    ("yaml twice", {"tunneler/x.c": "#include <yaml.h>\n"}, "already named"),
    ("curl elsewhere", {"controller/x.c": "#include <curl/curl.h>\n"}, "is named only in"),
    ("unknown dependency", {"router/x.c": "#include <zlib.h>\n"}, "no known dependency"),
    ("not from the root", {"router/x.c": '#include "y.h"\n', "router/y.h": ""}, "path from the root"),
    ("no such file", {"router/x.c": '#include "proto/base/none.h"\n'}, "path from the root"),
    ("no floor", {"common/x.h": ""}, "is on no floor"),
    ("circle", {"pki/a.h": '#include "pki/b.h"\n', "pki/b.h": '#include "pki/a.h"\n'}, "circle"),
    ("below the SDK", {"pki/x.c": "#include <weft/weft.h>\n"}, "below the SDK"),
]

if __name__ == "__main__":
    sys.exit(house.main(check, CLEAN, PLANTED))
