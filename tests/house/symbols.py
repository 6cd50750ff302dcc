#!/usr/bin/env python3
"""What the libraries show to the linker.

    symbols.py --shared libweft.so   exports weft_* only, and of these nothing generated (weft__*)
    symbols.py --static libweft.a    every global symbol begins with weft_, wf_ or pki_
    symbols.py --self-test           with CC (default cc), ar and nm
"""

import os
import re
import subprocess
import sys
import tempfile

RULES = {
    "--shared": (["-D"], re.compile(r"weft_(?!_)\w+$"), "libweft.so exports weft_* only"),
    "--static": (["-g"], re.compile(r"(?:weft|wf|pki)_\w+$"), "a global symbol begins with weft_, wf_ or pki_"),
}
# The sanitizers' and the linker's own, in instrumented builds.
NOT_OURS = re.compile(r"__(?:asan|tsan|ubsan|odr_asan|sancov|start|stop|gcov|llvm)[_.]|_(?:init|fini|edata|end)$|__bss_start$")


def check(kind, library):
    flags, rule, sentence = RULES[kind]
    listing = subprocess.run(
        ["nm", *flags, "--defined-only", "--format=posix", library], check=True, capture_output=True, text=True
    ).stdout
    names = [line.split()[0] for line in listing.splitlines() if len(line.split()) >= 2]
    names = [name.split("@")[0] for name in names if not name.endswith(":")]
    ours = [name for name in names if not NOT_OURS.match(name)]
    refusals = [f"{library}: {name}: {sentence}" for name in sorted(set(ours)) if not rule.match(name)]
    if not ours:
        refusals.append(f"{library}: shows no symbol at all")
    return refusals, len(ours)


def build(folder, kind, source):
    code, object_file = os.path.join(folder, "a.c"), os.path.join(folder, "a.o")
    with open(code, "w", encoding="utf-8") as file:
        file.write(source)
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-fPIC", "-fvisibility=hidden", "-c", code, "-o", object_file], check=True)
    library = os.path.join(folder, "lib.so" if kind == "--shared" else "lib.a")
    if os.path.exists(library):
        os.unlink(library)
    link = [*compiler, "-shared", "-o", library] if kind == "--shared" else ["ar", "rcs", library]
    subprocess.run([*link, object_file], check=True)
    return library


def self_test():
    show = '__attribute__((visibility("default"))) '
    cases = [
        ("--shared", show + "int weft_a(void) { return 0; } int wf_b(void) { return 0; }", 0),
        ("--shared", show + "int weft_a(void) { return 0; }" + show + "int wf_b(void) { return 0; }", 1),
        ("--shared", show + "int weft__wire__init(void) { return 0; }", 1),
        ("--shared", "int weft_hidden(void) { return 0; }", 1),
        ("--static", "int wf_a(void) { return 0; } int pki_b; static int c; int *weft_p(void) { return &c; }", 0),
        ("--static", "int wf_a(void) { return 0; } int helper(void) { return 0; }", 1),
        ("--static", "int pkix;", 1),
    ]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, source, expected in cases:
            refusals, _ = check(kind, build(folder, kind, source))
            if len(refusals) != expected:
                failed += 1
                print(f"{kind} {source!r}: {len(refusals)} refusals, not {expected}", *refusals, sep="\n  ")
    print(f"{len(cases)} libraries, {failed} failures")
    return 1 if failed else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) != 2 or arguments[0] not in RULES:
        print("usage: symbols.py --shared libweft.so | --static libweft.a | --self-test", file=sys.stderr)
        return 2
    refusals, count = check(*arguments)
    print(*refusals, sep="\n", end="\n" if refusals else "")
    print(f"symbols.py: {count} symbols, {len(refusals)} refusals")
    return 1 if refusals else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
