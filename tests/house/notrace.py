#!/usr/bin/env python3
"""The tree speaks of Weft only: no path of the machine it was written on, no host it was fetched from, no
note to oneself, no secret key left behind."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import house  # noqa: E402

# Written in two halves, so that this file passes its own rule.
WORDS = [
    (r"/wo" r"rk/\w", "an absolute path of one machine"),
    (r"/ho" r"me/(?!runner\b|user\b|you\b)\w+/", "an absolute path of one machine"),
    (r"\bTO" r"DO\b|\bFIX" r"ME\b|\bXX" r"X\b|\bHA" r"CK\b", "do it, or say UNTESTED: or an issue's number"),
    (r"\b(?:later|next|previous) ses" r"sions?\b(?= (?:will|should|can|adds|does|writes))", "a note to oneself"),
    (r"\bsub-?a" r"gents?\b|\bL" r"LM\b|\bCla" r"ude\b|\bChat" r"GPT\b|\bOther bui" r"lders?\b", "not about Weft"),
    (r"(?i)\bthe br" r"ief says\b|\bissues sho" r"w \d", "not about Weft"),
    (r"\barti" r"factory\b|\bproxy\.go" r"lang\.org|\bregistry\.np" r"mjs\.org|\bpypi" r"\.org\b", "a registry's host"),
    (r"\bftp\.\w+\.deb" r"ian\.org|\bdeb\.deb" r"ian\.org|\bsnapshot\.deb" r"ian\.org", "a registry's host"),
    (r"-----BEGIN (?:RSA |EC )?PRIV" r"ATE KEY-----\s*\n(?:[A-Za-z0-9+/=]{40,}\n){2}", "a private key"),
]
RULES = [(re.compile(pattern), why) for pattern, why in WORDS]
BINARY = re.compile(r"\.(?:png|jpg|gz|der|bin|sqlite3?)$|/seeds/|^LICENSE$")


def check(root):
    rules = list(RULES)
    here = os.path.abspath(root)
    if len(here) >= 8 and here.count("/") >= 2 and not here.startswith("/usr/"):
        rules.append((re.compile(re.escape(here) + r"\b"), "the absolute path of this tree"))
    refusals = []
    for path in house.files(root):
        if BINARY.search(path):
            continue
        text = house.read(root, path)
        for rule, why in rules:
            for match in rule.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                words = match.group(0).split("\n")[0]
                refusals.append(f"{path}:{line}: {words!r}: {why}")
    return refusals


CLEAN = {
    "docs/a.md": "A session of a later session id; mktemp /tmp/weft.XXXXXX; /home/runner/work is GitHub's.\n",
    "tests/seeds/x/bin": "/wo" "rk/x\n",
}
PLANTED = [
    ("path", {"a.c": "/* see /wo" "rk/main/x */\n"}, "an absolute path"),
    ("home", {"a.c": '"/ho' 'me/jane/x"\n'}, "an absolute path"),
    ("todo", {"a.c": "int a; // TO" "DO: free it\n"}, "do it, or say"),
    ("note", {"a.md": "a later ses" "sion will do it\n"}, "a note to oneself"),
    ("speaker", {"a.md": "written by a sub" "agent\n"}, "not about Weft"),
    ("registry", {"a.sh": "curl https://pypi" ".org/x\n"}, "a registry's host"),
    ("mirror", {"a.sh": "deb http://deb.deb" "ian.org x\n"}, "a registry's host"),
    ("key", {"a.pem": "-----BEGIN PRIV" "ATE KEY-----\n" + ("M" * 64 + "\n") * 3}, "a private key"),
]

if __name__ == "__main__":
    sys.exit(house.main(check, CLEAN, PLANTED))
