#!/usr/bin/env python3
"""In markdown, a link to a file of the tree leads to a file, and a link to a heading to a heading; a path in
backquotes that names a file of the tree (`tests/run.sh`, `proto/wire/frame.h`) names one that is there."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import house  # noqa: E402

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
PATH = re.compile(
    r"`(?:\./)?((?:\.ci|controller|docs|examples|pki|proto|router|sdk|tests|tunneler)/[\w./-]+\.(?:c|h|py|sh|md|proto|cmake|in|yml|yaml))`"
)
FENCE = re.compile(r"^ *(```+|~~~+).*?^ *\1", re.M | re.S)


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(root, path):
    text = FENCE.sub("", house.read(root, path))
    return {slug(re.sub(r"[`*]", "", h)) for h in re.findall(r"^#+ +(.+)$", text, re.M)}


def check(root):
    refusals = []
    for path in house.files(root, ".md"):
        text = FENCE.sub(lambda m: "\n" * m.group(0).count("\n"), house.read(root, path))
        for match in LINK.finditer(text):
            where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
            target, _, anchor = match.group(1).partition("#")
            if re.match(r"\w+:", target):
                continue
            full = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
            if not os.path.exists(os.path.join(root, full)):
                refusals.append(f"{where}: there is no {full}")
            elif anchor and full.endswith(".md") and anchor not in anchors(root, full):
                refusals.append(f"{where}: {full} has no heading #{anchor}")
        for match in PATH.finditer(text):
            if not os.path.exists(os.path.join(root, match.group(1))):
                where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
                refusals.append(f"{where}: there is no {match.group(1)}")
    return refusals


CLEAN = {
    "README.md": "# A `b` c!\n[x](docs/a.md#the-end) [self](#a-b-c) [w](https://x.y/z) `pki/a.c` `pki/*.c`\n"
    "```text\n[not](a-link)\n```\n",
    "docs/a.md": "[up](../README.md)\n\n## The end\n",
    "pki/a.c": "",
}
PLANTED = [
    ("no file", {"docs/b.md": "\n[x](c.md)\n"}, "docs/b.md:2: there is no docs/c.md"),
    ("no heading", {"docs/b.md": "[x](a.md#the-start)\n"}, "has no heading #the-start"),
    ("no path", {"docs/b.md": "see `pki/none.c`\n"}, "there is no pki/none.c"),
]

if __name__ == "__main__":
    sys.exit(house.main(check, CLEAN, PLANTED))
