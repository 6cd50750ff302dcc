#!/usr/bin/env python3
"""The claims of docs/security.md name tests that are there.

    claims.py ROOT
    claims.py --self-test

Claims are rows `| C1 | words | tests |`, numbered without a gap. Each word in backquotes in the last column that
looks like a test (lower case, with underscores) is a CMocka test, a CTest name or a script of tests/e2e. A claim
without one says "not tested". Elsewhere in docs/*.md a word of four underscores and more is a test, too, unless it begins as
a metric does: those e2e_15_operating looks for."""

import glob
import os
import re
import sys
import tempfile

ROW = re.compile(r"^\| C(\d+) \|(.*)\|(.*)\|$", re.M)
NAME = re.compile(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`")
LONG = re.compile(r"`(?!weft_(?:controller|router|tunneler)_)([a-z][a-z0-9]*(?:_[a-z0-9]+){4,})`")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def tests_of(root):
    names = {"e2e_" + os.path.basename(p)[:-3] for p in glob.glob(f"{root}/tests/e2e/[0-9]*.py")}
    for path in glob.glob(f"{root}/tests/*/*.c"):
        names |= set(re.findall(r"^static void (\w+)\(void \*\*", read(path), re.M))
        # Some files list their tests through a macro of one letter or word.
        names |= set(re.findall(r"^test\((\w+)\)", read(path), re.M))
    for path in glob.glob(f"{root}/tests/*/CMakeLists.txt"):
        names |= set(re.findall(r"(?:weft_test\(|add_test\(\s*NAME )(\w+)", read(path)))
    return names


def check(root):
    refusals, known = [], tests_of(root)
    text = read(f"{root}/docs/security.md")
    rows = ROW.findall(text)
    if not rows:
        refusals.append("docs/security.md: no claims")
    for place, (number, _, tests) in enumerate(rows, 1):
        named = NAME.findall(tests)
        if int(number) != place:
            refusals.append(f"docs/security.md: C{number} stands where C{place} should")
        if not named and "not tested" not in tests:
            refusals.append(f"docs/security.md: C{number} names no test")
        refusals += [f"docs/security.md: C{number}: there is no test {n}" for n in named if n not in known]
    for path in sorted(glob.glob(f"{root}/docs/*.md")):
        for name in LONG.findall(read(path)):
            if name not in known and not any(name in t for _, _, t in rows):
                refusals.append(f"docs/{os.path.basename(path)}: there is no test {name}")
    for first, last in re.findall(r"\bC(\d+)(?:-C(\d+))?", ROW.sub("", text)):
        if int(last or first) > len(rows):
            refusals.append(f"docs/security.md: there is no C{last or first}")
    return refusals


CLEAN = "| C1 | x | `a_thing_is_so` |\n| C2 | y | by construction; not tested |\nsee C1-C2\n"
PLANTED = [
    ("no such test", CLEAN.replace("a_thing_is_so", "a_thing_is_not"), "C1: there is no test a_thing_is_not"),
    ("no test", CLEAN.replace("`a_thing_is_so`", "trust us"), "C1 names no test"),
    ("a gap", CLEAN.replace("C2 |", "C3 |"), "C3 stands where C2 should"),
    ("no claims", "words\n", "no claims"),
    ("a claim that isn't there", CLEAN + "and C7\n", "there is no C7"),
    ("elsewhere", CLEAN + "`a_test_that_never_was_there`\n", "there is no test a_test_that_never_was_there"),
]


def self_test():
    failed = 0
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(f"{root}/docs")
        os.makedirs(f"{root}/tests/x")
        with open(f"{root}/tests/x/test_x.c", "w", encoding="utf-8") as file:
            file.write("static void a_thing_is_so(void **state)\n{\n}\n")
        for what, text, words in [("clean", CLEAN, None), *PLANTED]:
            with open(f"{root}/docs/security.md", "w", encoding="utf-8") as file:
                file.write(text)
            refusals = check(root)
            if (refusals != []) if words is None else not any(words in r for r in refusals):
                failed += 1
                print(f"{what}: {refusals}")
    print(f"{len(PLANTED)} planted faults, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(self_test())
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    refusals = check(sys.argv[1])
    print("\n".join(refusals))
    sys.exit(1 if refusals else 0)
