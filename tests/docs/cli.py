#!/usr/bin/env python3
"""docs/cli.md says what the programs say: every command and option of theirs, and no other.

    cli.py FILE.md PROGRAM...     compares
    cli.py --print PROGRAM...     prints what the programs have, in the form of the document
    cli.py --self-test

In the document a command is a heading of its usage in backquotes, with a table whose rows begin with an option
in backquotes; or one row of a table: the usage, then the options, then what it does. The first column of these
tables is called `option` and `command`. Options that all commands of a program have stand under a heading that
says "every `PROGRAM` command", those of all programs under "every command"."""

import os
import re
import subprocess
import sys
import tempfile

LEFT = re.compile(r"^  (\S.*?)(?:\s{2,}.*)?$")
CODE = re.compile(r"`([^`]+)`")
EVERY = re.compile(r"^#+ .*\bevery (?:`([\w-]+)` )?command\b", re.I)


def help_of(program, words):
    env = {k: v for k, v in os.environ.items() if not k.startswith("WEFT_")}
    done = subprocess.run([program, *words, "--help"], capture_output=True, text=True, env=env, timeout=60)
    if done.returncode:
        raise SystemExit(f"{program} {' '.join(words)} --help: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout.split("\n")


def block(lines, title):
    """The lines of a block of help, up to the next one that isn't indented; of commands, under every title."""
    out, inside = [], False
    for line in lines:
        if line.startswith(title):
            inside = True
        elif inside and title == "commands" and not line:
            continue
        elif inside and not line.startswith("  "):
            break
        elif inside:
            out.append(line)
    return out


def options_in(lines):
    found = set()
    for line in lines:
        match = LEFT.match(line)
        if match and match.group(1).startswith("--"):
            # An option so long that one blank follows it: what help says begins behind the value.
            words = match.group(1).split(" ")
            found.add(" ".join(words[:2] if len(words) > 1 and re.match(r"[A-Z@<]", words[1]) else words[:1]))
    return found


def said_by(programs):
    """{(usage or "every ..."): set of options}"""
    said = {}
    for program in programs:
        name = os.path.basename(program)
        common = built_in = None
        for line in block(help_of(program, []), "commands"):
            words = []
            for word in line.split():
                if not re.fullmatch(r"[a-z][a-z-]*", word) or len(line) - len(line.lstrip()) != 2:
                    break
                words.append(word)
            left = LEFT.match(line).group(1)
            words = [w for w in words if w in left.split()]
            if words and words[0] in ("completion", "man"):
                said[f"{name} {left}"] = set()
                continue
            text = help_of(program, words)
            usage = text[0].removeprefix("usage: ")
            own = options_in(block(text, "options"))
            shared = options_in(block(text, "common options"))
            builtin = {o for o in own | shared | options_in(text) if o.split()[0] in BUILT_IN}
            said[usage] = own - builtin
            common, built_in = shared - builtin, builtin
        if common:
            said[f"every {name} command"] = common
        if built_in:
            said["every command"] = built_in
    return said


BUILT_IN = ("--log-level", "--log-format", "--help", "--version")


def told_by(text, names):
    """The same, by the document; and what it says twice."""
    told, twice, at, header = {}, [], None, None
    starts = tuple(f"{name} " for name in names)

    def begin(key):
        if key in told:
            twice.append(f"twice: {key}")
        told.setdefault(key, set())
        return key

    for line in re.sub(r"^ *(```+).*?^ *\1", "", text, flags=re.M | re.S).split("\n"):
        line = line.replace("\\|", "\0")
        codes = [c.replace("\0", "|") for c in CODE.findall(line)]
        if not line.startswith("|"):
            header = None
        if line.startswith("#"):
            every = EVERY.match(line)
            usages = [c for c in codes if c.startswith(starts)]
            if every:
                at = begin(f"every {every.group(1)} command" if every.group(1) else "every command")
            else:
                at = begin(usages[0]) if usages else None
        elif line.startswith("|"):
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            first = [c.replace("\0", "|") for c in CODE.findall(cells[0])]
            header = header or cells[0]
            if first and header == "command" and first[0].startswith(starts):
                key = begin(first[0])
                told[key] |= {c.replace("\0", "|") for c in CODE.findall(cells[1]) if c.startswith("--")}
            elif first and header == "option" and first[0].startswith("--") and at:
                told[at].add(first[0])
    return told, twice


def compare(said, told):
    refusals = [f"not in the document: {key}" for key in said if key not in told]
    refusals += [f"no program has: {key}" for key in told if key not in said]
    for key in said:
        for option in sorted(said[key] - told.get(key, said[key])):
            refusals.append(f"{key}: {option} is not in the document")
        for option in sorted(told.get(key, set()) - said[key]):
            refusals.append(f"{key}: no program has {option}")
    return refusals


def check(document, programs):
    with open(document, encoding="utf-8") as file:
        told, twice = told_by(file.read(), [os.path.basename(p) for p in programs])
    return twice + compare(said_by(programs), told)


PROGRAM = r"""#!/bin/sh
case "$1 $2" in
"--help ") printf 'usage: p COMMAND ...\n\nx\n\ncommands\n  go NAME            goes\n  go far A|B         goes far\n  man                 m\n\nend\n' ;;
"go --help") printf 'usage: p go NAME\n\ngoes\n\noptions (x)\n  --fast              quick\n\ncommon options\n  --who FILE   w\n  --help      show this\n' ;;
"go far") printf 'usage: p go far A|B\n\ngoes\n\noptions (x)\n  --to K:V...              where\n\ncommon options\n  --who FILE   w\n  --help      show this\n' ;;
esac
"""
CLEAN = """# x
### `p go NAME`
| option | |
|---|---|
| `--fast` | quick |

| command | options | |
|---|---|---|
| `p go far A\\|B` | `--to K:V...` | far |
| `p man` | | m |

| file | |
|---|---|
| `p go` | writes nothing |

## Options of every `p` command
| option | |
| `--who FILE` | w |

## Options of every command
| option | |
| `--help` | h |
"""
PLANTED = [
    ("a command is missing", CLEAN.replace("| `p man` | | m |\n", ""), "not in the document: p man"),
    ("an option is missing", CLEAN.replace("| `--fast` | quick |\n", ""), "p go NAME: --fast is not in the document"),
    ("an option in a row is missing", CLEAN.replace("`--to K:V...`", ""), "--to K:V... is not in the document"),
    ("an option is no more", CLEAN.replace("| `--fast` |", "| `--slow` |\n| `--fast` |"), "no program has --slow"),
    ("a command is no more", CLEAN + "### `p stay`\n", "no program has: p stay"),
    ("an argument changed", CLEAN.replace("p go NAME", "p go NAMES"), "not in the document: p go NAME"),
    ("a value changed", CLEAN.replace("--who FILE", "--who NAME"), "every p command: --who FILE is not"),
    ("said twice", CLEAN + "### `p go NAME`\n| option | |\n| `--fast` | quick |\n", "twice: p go NAME"),
]


def self_test():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        program, document = f"{folder}/p", f"{folder}/cli.md"
        with open(program, "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        os.chmod(program, 0o755)
        for what, text, words in [("clean", CLEAN, None), *PLANTED]:
            with open(document, "w", encoding="utf-8") as file:
                file.write(text)
            refusals = check(document, [program])
            if (refusals != []) if words is None else not any(words in r for r in refusals):
                failed += 1
                print(f"{what}: {refusals}")
    print(f"{len(PLANTED)} planted faults, {failed} failures")
    return 1 if failed else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    if sys.argv[1] == "--print":
        for key, options in said_by(sys.argv[2:]).items():
            print(f"### `{key}`" if not key.startswith("every") else f"## Options of {key}")
            print("".join(f"| `{o}` | |\n" for o in sorted(options)).replace("|`", "`"))
        return 0
    refusals = check(sys.argv[1], sys.argv[2:])
    for refusal in refusals:
        print(f"{sys.argv[1]}: {refusal}")
    return 1 if refusals else 0


if __name__ == "__main__":
    sys.exit(main())
