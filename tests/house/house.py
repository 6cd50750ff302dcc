"""What every house rule shares: reading the tree, saying no, and showing that it can say no.

A rule is a function check(root) -> list of refusals ("path:line: what, and what to do"). Run as

    rule.py ROOT         checks the tree; prints the refusals; exit 1 if there are any
    rule.py --self-test  checks the rule: the clean fixture must pass, each planted fault must be refused
"""

import os
import re
import sys
import tempfile

SKIP = {".git", "build", "__pycache__", ".cache"}


def files(root, *suffixes):
    """Paths below root, relative and sorted, of the files with these suffixes (all files without)."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(d for d in folders if d not in SKIP)
        for name in sorted(set(names) - SKIP):  # .git is a file in a worktree
            if not suffixes or name.endswith(suffixes):
                found.append(os.path.relpath(os.path.join(folder, name), root))
    return found


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text, keep_strings=False):
    """The C source without comments (and strings): same length in lines, so that line numbers hold."""

    def blank(match):
        token = match.group(0)
        if keep_strings and token[0] in "\"'":
            return token
        quote = token[0] if token[0] in "\"'" else " "
        return quote + "\n" * token.count("\n") + quote

    return _TOKEN.sub(blank, text)


def _plant(root, tree):
    for path, text in tree.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


def _self_test(check, clean, planted):
    failed = 0
    with tempfile.TemporaryDirectory() as root:
        _plant(root, clean)
        refusals = check(root)
        if refusals:
            failed += 1
            print("the clean fixture is refused:", *refusals, sep="\n  ")
    for what, tree, expected in planted:
        with tempfile.TemporaryDirectory() as root:
            _plant(root, {**clean, **tree})
            refusals = check(root)
        if not any(expected in refusal for refusal in refusals):
            failed += 1
            print(f"not refused as expected ({expected!r}): {what}", *refusals, sep="\n  ")
    print(f"{len(planted)} planted faults, {failed} failures")
    return 1 if failed or not planted else 0


def main(check, clean, planted):
    """clean: {path: text}. planted: [(what, {path: text} on top of clean, words of the refusal)]."""
    if sys.argv[1:] == ["--self-test"]:
        return _self_test(check, clean, planted)
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} ROOT | --self-test", file=sys.stderr)
        return 2
    refusals = check(sys.argv[1])
    for refusal in refusals:
        print(refusal)
    print(f"{os.path.basename(sys.argv[0])}: {len(refusals)} refusals")
    return 1 if refusals else 0
