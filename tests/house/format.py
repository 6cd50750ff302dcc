#!/usr/bin/env python3
"""clang-format has the last word on white space (CLANG_FORMAT chooses it; the tree is formatted with 14)."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import house  # noqa: E402

TOOL = os.environ.get("CLANG_FORMAT", "clang-format")
STYLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.clang-format")


def check(root):
    paths = house.files(root, ".c", ".h")
    if not paths:
        return []
    done = subprocess.run(
        [TOOL, f"--style=file:{STYLE}", "--dry-run", "-Werror", *paths], cwd=root, capture_output=True, text=True
    )
    lines = [l for l in done.stderr.splitlines() if ": error:" in l]
    worst = {}
    for line in lines:
        worst.setdefault(line.split(":")[0], line)
    if done.returncode and not lines:
        return [done.stderr.strip()]
    return [f"{line}; clang-format -i {path}" for path, line in worst.items()]


CLEAN = {"pki/a.c": "int f(void)\n{\n    return 0;\n}\n"}
PLANTED = [
    ("a tab", {"pki/b.c": "int f(void)\n{\n\treturn 0;\n}\n"}, "pki/b.c:2"),
    ("a brace", {"pki/b.h": "static inline int f(void) {\n    return 0;\n}\n"}, "pki/b.h:1"),
]

if __name__ == "__main__":
    if not shutil.which(TOOL):
        print(f"format.py: there is no {TOOL}", file=sys.stderr)
        sys.exit(2)
    sys.exit(house.main(check, CLEAN, PLANTED))
