#!/usr/bin/env python3
"""docs/quickstart.md, typed as it stands: in a folder of its own, and on a host of its own, as its ports are fixed."""

import os
import subprocess
import sys

from e2e import BIN, SOURCE, Room, Skip, check, main, saw, step

RUN_DOCS = os.path.join(SOURCE, "tests", "docs", "run-docs.py")


def own_host():
    """Words before a command that give it a network of its own, with a loopback."""
    for unshare in (["unshare", "--net"], ["unshare", "--net", "--user", "--map-root-user"]):
        words = [*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return words
    raise Skip("a network namespace can't be made here")


@step("every command of docs/quickstart.md runs, in order")
def _(room):
    document = os.path.join(SOURCE, "docs", "quickstart.md")
    words = [*own_host(), sys.executable, "-B", RUN_DOCS, document, "--cwd", room.folder, "--timeout", "100"]
    done = room.run(words[0], *words[1:], timeout=130)
    for line in done.out.splitlines():
        saw("|", line)
    check(done.code == 0, done)
    for sign in (
        "hello from behind the firewall",  # the delivery
        "yes: dial policy 'web-dial' allows it",
        "exit 3: no",  # may the dialer host?
        "refused",  # after it was taken back
    ):
        check(sign in done.out, "the document never shows", repr(sign))
    check(done.out.count("hello from behind the firewall") >= 3, "post, dial and the proxy must each bring the page")


@step("a document whose command fails is told from one that runs")
def _(room):
    path = room.write("broken.md", "```sh run\nweft-controller init --home there\n```\n```sh run\nweft nonsense\n```\n")
    done = room.run(sys.executable, "-B", RUN_DOCS, path, "--cwd", room.folder)
    check(done.code == 1 and "unknown command" in done.out, done)
    saw(done.out.splitlines()[-3])


main(Room)
