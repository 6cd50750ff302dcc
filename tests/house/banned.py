#!/usr/bin/env python3
"""Calls that no source may make, and calls that a library may not make.

A place that must differ says so on its own line: `/* house: may call abort: <why> */`.
"""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import house  # noqa: E402

NEVER = {
    "strcpy": "a length is checked before it is used: memcpy, or wf_buf_*",
    "strcat": "wf_buf_*",
    "sprintf": "snprintf or wf_buf_*",
    "vsprintf": "vsnprintf",
    "gets": "fgets",
    "strtok": "the bounded reader",
    "atoi": "wf_text's numbers, which refuse what is no number",
    "atol": "wf_text's numbers, which refuse what is no number",
    "alloca": "a caller's buffer or malloc",
    "system": "uv_spawn with an argument list",
    "popen": "uv_spawn with an argument list",
    "rand": "the generator of pki",
    "srand": "the generator of pki",
    "tmpnam": "mkstemp",
    "mktemp": "mkstemp",
    "strncpy": "it need not end the string: memcpy of a checked length",
}
# A test copies its own constants under sanitizers, and wants a sequence that can be repeated.
TESTS_MAY = {"strcpy", "strcat", "sprintf", "atoi", "rand", "srand"}
LIBRARIES_NEVER = {
    "exit": "return a weft_err",
    "_exit": "return a weft_err",
    "abort": "assert a caller's bug, return the world's failure",
    "printf": "a library never prints: wf_log, or fill the why",
    "puts": "a library never prints",
    "putchar": "a library never prints",
    "perror": "a library never prints",
}
LIBRARIES = ("proto/base/", "proto/wire/", "proto/link/", "proto/http/", "pki/", "sdk/")
NOT_LIBRARIES = ("sdk/cli/",)

CALL = re.compile(r"(?<![\w.>])(" + "|".join(list(NEVER) + list(LIBRARIES_NEVER)) + r")\s*\(")
EXCUSE = re.compile(r"house: may call (\w+): \w+")


def check(root):
    refusals = []
    for path in house.files(root, ".c", ".h"):
        text = house.read(root, path)
        lines = text.split("\n")
        library = path.startswith(LIBRARIES) and not path.startswith(NOT_LIBRARIES)
        for number, line in enumerate(house.code_only(text).split("\n"), 1):
            for name in CALL.findall(line):
                why = NEVER.get(name) or (LIBRARIES_NEVER[name] if library else None)
                if path.startswith("tests/") and name in TESTS_MAY:
                    continue
                if why is None or name in EXCUSE.findall(lines[number - 1]):
                    continue
                refusals.append(f"{path}:{number}: {name}() is not called here; instead: {why}")
    return refusals


CLEAN = {
    "proto/base/x.c": 'int f(void) { return snprintf(b, 2, "strcpy(a)"); } /* never strcpy(a, b) */\n'
    "// system(x)\nint my_system(void);\nint g(void) { return my_system() + ops->exit(1); }\n",
    "proto/base/bug.c": "void f(void) { abort(); /* house: may call abort: a caller's bug */ }\n",
    "sdk/cli/main.c": 'int main(void) { printf("x"); exit(1); }\n',
    "tests/y.c": "void f(void) { srand(1); strcpy(a, b); }\n",
    "router/main.c": 'int main(void) { printf("x"); return 0; }\n',
}
PLANTED = [(n, {"tunneler/x.c": f"void f(void)\n{{\n    {n} (x);\n}}\n"}, f"x.c:3: {n}()") for n in NEVER]
PLANTED += [
    (n, {f"{folder}x2.c": f"/* a\n b */ void f(void) {{ {n}(1); }}\n"}, f"x2.c:2: {n}()")
    for n in LIBRARIES_NEVER
    for folder in LIBRARIES
]
PLANTED += [
    ("a test's command", {"tests/x.c": "void f(void) { system(a); }\n"}, "x.c:1: system()"),
    ("an excuse for another call", {"pki/x.c": "f(); exit(1); /* house: may call abort: no */\n"}, "exit()")
]

if __name__ == "__main__":
    sys.exit(house.main(check, CLEAN, PLANTED))
