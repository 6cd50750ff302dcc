#!/usr/bin/env python3
"""Every header stands alone, is guarded by its path's name, and says on top what it is about.

    headers.py ROOT BUILD    internal headers compile alone, twice in one unit, in C17; the public ones
                             (<weft/*.h>) as C11 and as C++17, pedantic; all warnings are errors
    headers.py --self-test

CC and CXX choose the compilers. BUILD holds the generated headers.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import house  # noqa: E402

CC = os.environ.get("CC", "cc")
CXX = os.environ.get("CXX", "c++")
STRICT = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
BUILD = []


def compile_alone(command, name):
    unit = f"#include <{name}>\n#include <{name}>\nextern int wf_unit_is_not_empty;\n"
    done = subprocess.run(command + ["-"], input=unit, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    return next((l for l in done.stderr.splitlines() if "error" in l), done.stderr.strip()[-200:])


def check(root):
    refusals, jobs = [], []
    seen = ["-I", root, *[x for b in BUILD for x in ("-I", b)]]
    seen += ["-I", f"{root}/proto/base/include", "-I", f"{root}/sdk/include"]
    for path in house.files(root, ".h"):
        text = house.read(root, path)
        public = re.search(r"/include/(weft/\w+\.h)$", path)
        name = public.group(1) if public else path
        guard = re.sub(r"\W", "_", name).upper()
        code = house.code_only(text).split()
        if code[:4] != ["#ifndef", guard, "#define", guard]:
            refusals.append(f"{path}: its guard must be {guard}")
        if not text.startswith("/*") and not text.startswith("//"):
            refusals.append(f"{path}: must begin with a comment that says what it is about")
        if public:
            jobs.append((path, [CC, "-std=c11", "-pedantic", "-Wstrict-prototypes", *STRICT, *seen, "-x", "c"], name))
            jobs.append((path, [CXX, "-std=c++17", "-pedantic", *STRICT, *seen, "-x", "c++"], name))
        else:
            folder = ["-I", os.path.join(root, os.path.dirname(path))] if path.startswith("tests/") else []
            jobs.append((path, [CC, "-std=c17", "-D_GNU_SOURCE", *STRICT, *seen, *folder, "-x", "c"], name))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for (path, command, _), error in zip(jobs, pool.map(lambda j: compile_alone(j[1], j[2]), jobs)):
            if error:
                refusals.append(f"{path}: does not stand alone as {command[1][5:]}: {error}")
    return refusals


def header(guard, body):
    return f"/* A fixture. */\n#ifndef {guard}\n#define {guard}\n{body}\n#endif\n"


CLEAN = {
    "proto/base/include/weft/err.h": header("WEFT_ERR_H", "typedef enum { WEFT_OK } weft_err;"),
    "proto/base/buf.h": header("PROTO_BASE_BUF_H", "#include <weft/err.h>\nweft_err f(void);"),
}
PUBLIC = "sdk/include/weft/weft.h"
PLANTED = [
    ("leans on its includer", {"pki/a.h": header("PKI_A_H", "size_t f(void);")}, "does not stand alone as c17"),
    ("wrong guard", {"pki/a.h": header("A_H", "int f(void);")}, "its guard must be PKI_A_H"),
    ("no guard", {"pki/a.h": "/* x */\nstruct s { int a; };\n"}, "its guard"),
    ("no words", {"pki/a.h": "#ifndef PKI_A_H\n#define PKI_A_H\n#endif\n"}, "must begin with a comment"),
    ("not C++", {PUBLIC: header("WEFT_WEFT_H", "int f(int new);")}, "does not stand alone as c++17"),
    ("not C11", {PUBLIC: header("WEFT_WEFT_H", "class a;")}, "does not stand alone as c11"),
    ("an extension", {PUBLIC: header("WEFT_WEFT_H", "struct s { int n; char a[0]; };")}, "as c11"),
    ("public with inside", {PUBLIC: header("WEFT_WEFT_H", '#include "pki/none.h"')}, "does not stand alone"),
]

if __name__ == "__main__":
    for tool in (CC, CXX):
        if not shutil.which(tool.split()[0]):
            print(f"headers.py: there is no {tool}; set CC and CXX", file=sys.stderr)
            sys.exit(2)
    if len(sys.argv) == 3:
        BUILD = [sys.argv.pop()]
    sys.exit(house.main(check, CLEAN, PLANTED))
