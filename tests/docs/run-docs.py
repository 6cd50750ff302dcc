#!/usr/bin/env python3
"""Docs that run: executes the commands of a markdown file as a reader would type them.

    run-docs.py FILE.md [--env KEY=VALUE]... [--cwd DIR] [--timeout SECONDS]
    run-docs.py FILE.md --list          prints the blocks that would run, runs nothing
    run-docs.py --self-test

A fenced block whose info string is `sh run` is a step. All steps run in order in one bash (so a variable or
a background process of one step is there in the next), under `set -eu -o pipefail`. `sh run fails` and
`sh run exit=3` are steps that must end so; each is a subshell of its own. A block `text expect` right after
a step holds lines that the step must have printed, in this order; `...` stands for anything within a line,
a line of `...` alone for any lines. Blocks with any other info string are only prose.

Exit 0 when all steps did as the document says, 1 when one did not (file and line are printed), 2 on wrong
usage. Whatever the steps left running is ended with them.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

FENCE = re.compile(r"^(?P<indent> *)(?P<marks>```+|~~~+)\s*(?P<info>[^`]*)$")


class Step:
    def __init__(self, line, info, text):
        self.line, self.text, self.expect = line, text, None
        self.status = 0  # what the step must exit with; None: anything but 0
        for word in info[2:]:
            if word == "fails":
                self.status = None
            elif re.fullmatch(r"exit=\d+", word):
                self.status = int(word[5:])
            else:
                raise SystemExit(f"line {line}: what is {word!r} in a block's info string?")


def blocks(text):
    """(line, info words, content) of each fenced block; the line is that of its first line of content."""
    opened = None
    for number, line in enumerate(text.split("\n"), 1):
        fence = FENCE.match(line)
        if opened is None:
            if fence:
                opened = (number + 1, fence["info"].split(), fence["marks"], [])
        elif fence and not fence["info"].strip() and fence["marks"].startswith(opened[2]):
            yield opened[0], opened[1], textwrap.dedent("\n".join(opened[3])) + "\n"
            opened = None
        else:
            opened[3].append(line)
    if opened:
        raise SystemExit(f"line {opened[0] - 1}: the block is never closed")


def steps_of(text):
    steps = []
    last = None
    for line, info, content in blocks(text):
        if info[:2] == ["sh", "run"]:
            last = Step(line, info, content)
            steps.append(last)
        elif info[:2] == ["text", "expect"]:
            if last is None:
                raise SystemExit(f"line {line}: an expectation must follow a step")
            last.expect = (line, content)
            last = None
        else:
            last = None
    return steps


def script_of(steps, folder):
    """One bash script. Each step's output has its own file; `at` says which step was the last to start."""
    lines = ["set -eu -o pipefail"]
    for number, step in enumerate(steps):
        lines += [f"echo {number} >{folder}/at", f"exec >{folder}/out.{number} 2>&1"]
        if step.status == 0:
            lines.append(step.text)
            continue
        lines += ["set +e", "(", "set -e", step.text, ")", "wf_docs_status=$?", "set -e"]
        test = "-ne 0" if step.status is None else f"-eq {step.status}"
        lines.append(f'[ "$wf_docs_status" {test} ] || {{ echo "(exit status $wf_docs_status)"; exit 1; }}')
    lines.append(f"echo done >{folder}/at")
    return "\n".join(lines) + "\n"


def unmet(expected, output):
    """The first expected line that the output doesn't hold, or None."""
    rest = output.splitlines()
    for line in expected.splitlines():
        if line.strip() in ("", "..."):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.strip().split("...")))
        while rest and not pattern.search(rest[0]):
            rest.pop(0)
        if not rest:
            return line
        rest.pop(0)
    return None


def alive(group):
    """Is there a process of the group that is no zombie? (Nobody may be there to reap an orphan.)"""
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = read(f"/proc/{name}/stat").rpartition(")")[2].split()
            if len(fields) > 2 and fields[0] not in "ZX" and fields[2] == str(group):
                return True
    return False


def end_group(group):
    for which, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        limit = time.monotonic() + patience
        if not alive(group):
            return
        os.killpg(group, which)
        while alive(group) and time.monotonic() < limit:
            time.sleep(0.02)


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def run(path, env, cwd, timeout, say=print):
    """0 or 1; say(...) gets each line of the report."""
    steps = steps_of(read(path))
    if not steps:
        say(f"{path}: has no block marked `sh run`")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/script", "w", encoding="utf-8") as file:
            file.write(script_of(steps, folder))
        bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", f"{folder}/script"],
            env=env, cwd=cwd, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        late = False
        try:
            bash.wait(timeout)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            end_group(bash.pid)
            bash.wait()
        at = read(f"{folder}/at").strip()
        for number, step in enumerate(steps):
            output = read(f"{folder}/out.{number}")
            for line in output.splitlines():
                say(f"    {line}")
            if at == str(number):
                what = f"not done after {timeout} s" if late else f"exit status {bash.returncode}"
                say(f"{path}:{step.line}: failed ({what}):\n{textwrap.indent(step.text, '  > ')}")
                return 1
            if step.expect:
                missing = unmet(step.expect[1], output)
                if missing is not None:
                    say(f"{path}:{step.expect[0]}: the step did not print {missing!r} (in this order)")
                    return 1
            say(f"{path}:{step.line}: ok")
        if at != "done":
            say(f"{path}: bash ended before the first step")
            return 1
    return 0


SELF_TEST = [
    # (what, document, exit status, words of the report)
    ("a variable lives on", "```sh run\nA=4\n```\n```sh run\n[ $A = 4 ]\n```\n", 0, ":5: ok"),
    ("prose does not run", "```sh\nfalse\n```\n```sh run\ntrue\n```\n", 0, ":5: ok"),
    ("a step fails", "```sh run\ntrue\n```\ntext\n```sh run\nfalse\ntrue\n```\n", 1, ":6: failed (exit status 1)"),
    ("a pipe fails", "```sh run\nfalse | cat\n```\n", 1, ":2: failed"),
    ("an unset name", "```sh run\necho $NOT_SET_HERE\n```\n", 1, ":2: failed"),
    ("expected", "```sh run\necho a1b; echo c\n```\n```text expect\na...b\nc\n```\n", 0, ":2: ok"),
    ("not printed", "```sh run\necho a\n```\n```text expect\nb\n```\n", 1, ":5: the step did not print 'b'"),
    ("wrong order", "```sh run\necho a; echo b\n```\n```text expect\nb\na\n```\n", 1, "did not print 'a'"),
    ("must fail", "```sh run fails\nfalse\n```\n", 0, ":2: ok"),
    ("must fail and doesn't", "```sh run fails\ntrue\n```\n", 1, ":2: failed"),
    ("exit=3", "```sh run exit=3\nexit 3\n```\n", 0, ":2: ok"),
    ("exit=3 and is 4", "```sh run exit=3\nexit 4\n```\n", 1, "(exit status 4)"),
    ("fails in the middle", "```sh run exit=1\nfalse\nexit 0\n```\n", 0, ":2: ok"),
    ("nothing to run", "only prose\n", 1, "has no block"),
    ("left behind", "```sh run\nsleep 600 &\necho $! >$WF_PID\n```\n", 0, ":2: ok"),
    ("too late", "```sh run\nsleep 600\n```\n", 1, "not done after 1 s"),
    ("in a list", "1. do\n   ```sh run\n   cat <<E\n   x\n   E\n   ```\n   ```text expect\n   x\n   ```\n", 0, ":3: ok"),
    ("ends early", "```sh run\nexit 0\n```\n```sh run\ntrue\n```\n", 1, ":2: failed"),
]


def self_test():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        path, pid = f"{folder}/doc.md", f"{folder}/pid"
        for what, document, status, words in SELF_TEST:
            with open(path, "w", encoding="utf-8") as file:
                file.write(document)
            said = []
            got = run(path, dict(os.environ, WF_PID=pid), folder, 1 if what == "too late" else 20, said.append)
            if got != status or not any(words in line for line in said):
                failed += 1
                print(f"{what}: exit {got}, not {status} with {words!r}:", *said, sep="\n  ")
        state = read(f"/proc/{read(pid).strip()}/stat").rpartition(")")[2].split()
        if state and state[0] not in "ZX":
            failed += 1
            print("a process that a step left behind still runs")
    print(f"{len(SELF_TEST)} documents, {failed} failures")
    return 1 if failed else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    parser = argparse.ArgumentParser(description="Executes the commands of a markdown file.")
    parser.add_argument("file")
    parser.add_argument("--env", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cwd")
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args()
    if chosen.list:
        for step in steps_of(read(chosen.file)):
            print(f"{chosen.file}:{step.line}:\n{textwrap.indent(step.text, '  > ')}", end="")
        return 0
    env = dict(os.environ)
    for pair in chosen.env:
        key, equals, value = pair.partition("=")
        if not equals:
            parser.error(f"--env {pair}: KEY=VALUE is wanted")
        env[key] = value
    return run(chosen.file, env, chosen.cwd, chosen.timeout)


if __name__ == "__main__":
    sys.exit(main())
