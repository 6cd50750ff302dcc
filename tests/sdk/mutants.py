#!/usr/bin/env python3
"""Takes the checks of a session away, one at a time, and shows that a test notices.

    mutants.py BUILD [NAME...]

Each mutant is one source file with one check gone, compiled as the build compiles it, and linked with the
objects of the tests in front of the libraries, so that it takes the place of the original.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv[1])

# name: (file, what stands there, what stands there without the check, tests of which one must fail)
SESSION, HOSTILE = "session", "hostile"
MUTANTS = {
    "kind of certificate": ("sdk/session.c", ".kinds = PKI_IDENTITY,", ".kinds = PKI_IDENTITY | PKI_ROUTER,", SESSION),
    "who the peer is": ("pki/grant.c", "!wf_id_equal(&subject, &who->id)", "false", SESSION),
    "key pinned in the grant": ("pki/grant.c", "!has_pin(g->pins, g->n_pins, &who->pin)", "false && has_pin(g->pins, g->n_pins, &who->pin)", SESSION),
    "signature of the grant": ("pki/record.c", "pki_verify(", "true ? WEFT_OK : pki_verify(", SESSION),
    "service of the grant": ("pki/grant.c", "(service != NULL && !wf_id_equal(&of, service))", "(service != NULL && false)", SESSION),
    "role of the grant": ("pki/grant.c", "if (g->role != role)", "if (false && g->role != role)", SESSION),
    "end of the grant": ("pki/grant.c", "if (now >= g->expiry)", "if (false && now >= g->expiry)", SESSION),
    "begin of the grant": ("pki/grant.c", "if (now + WF_CLOCK_TOLERANCE_MS < g->not_before)", "if (false)", SESSION),
    "floor of the grant": ("pki/grant.c", "g->epoch < floor ||", "", SESSION),
    "certificate cut meanwhile": ("sdk/session.c", "pki_trust_check_again(s->trust, peer, s->now, &s->why)", "WEFT_OK", None),
    "grant in the HELLO at all": ("sdk/hello.c", "if (item->grant == NULL)", "if (item->grant == NULL && false)", None),
    "service of the HELLO": ("sdk/hello.c", "if (!wf_id_equal(&service, &expected->service))", "if (false)", SESSION),
    "session of the HELLO": ("sdk/hello.c", "if (!wf_id_equal(&session, &expected->session))", "if (false)", SESSION),
    "role of the HELLO": ("sdk/hello.c", "if (item->role != expected->role)", "if (false)", SESSION),
    "instance of the HELLO": ("sdk/hello.c", "!wf_id_equal(&instance, &expected->instance))", "false)", SESSION),
    "nothing sent before the host is verified": ("sdk/session.c", "s, WF_SESSION_HELLO); /* our", "s, (err = wf_session_let_go(s), WF_SESSION_HELLO)); /* our", SESSION),
    "DATA waits for ACCEPT": ("sdk/session_items.c", "wf_session_held(s) == 0 && s->state != WF_SESSION_DECISION", "wf_session_held(s) == 0", SESSION),
    "END waits for ACCEPT": ("sdk/session_items.c", "wf_session_held(s) > 0 || s->state == WF_SESSION_DECISION)", "wf_session_held(s) > 0)", SESSION),
    "one HELLO": ("sdk/session_items.c", "[WF_SESSION_DECISION] = ", "[WF_SESSION_DECISION] = ITEM(HELLO) | ", SESSION),
    "a dialer can't ACCEPT": ("sdk/session_items.c", "[WF_SESSION_DECISION] = ", "[WF_SESSION_DECISION] = ITEM(ACCEPT) | ", SESSION),
    "what may follow END": ("sdk/session_items.c", "allowed &= AFTER_END;", "allowed &= AFTER_END | ITEM(DATA);", SESSION),
    "END before close_notify": ("sdk/session.c", "if (s->state == WF_SESSION_CLOSING) {\n        wf_session_finish(s, s->verdict);", "if (s->state == WF_SESSION_CLOSING || s->state == WF_SESSION_OPEN) {\n        s->out = WF_HALF_ENDED, s->in = WF_HALF_ENDED;\n        wf_session_finish(s, s->verdict);", SESSION),
    "a lost circuit is a loss": ("sdk/session.c", "weft_err err = WEFT_ELOST;\n", "weft_err err = WEFT_OK;\n    s->out = s->in = WF_HALF_ENDED;\n", SESSION),
    "a failed record ends it": ("sdk/session.c", "        if (err != WEFT_OK) {\n            tls_failed(s, err);\n            return;\n        }", "        if (err != WEFT_OK)\n            return;", HOSTILE),
    "the bytes that TLS ignores": ("sdk/session.c", "if (!begins_right(s, data, len))", "if (!begins_right(s, data, len) && false)", HOSTILE),
    "ACK within what was sent": ("sdk/flow.c", "if (ack->received > flow->sent)", "if (false)", SESSION),
    "DATA within credit": ("sdk/flow.c", "if (len > flow->granted - flow->received)", "if (false)", SESSION),
    "certificate of a live session": ("sdk/session.c", "pki_trust_check_again(s->trust, &s->peer, now, why)", "WEFT_OK", SESSION),
    "floor of a live session": ("sdk/session.c", "if (g->epoch < floor)", "if (false && floor)", SESSION),
    "end of a live session's grant": ("sdk/session.c", "if (err == WEFT_OK && now > g->expiry && now - g->expiry > WF_CLOCK_TOLERANCE_MS + grace_ms)", "if (grace_ms == 1)", SESSION),
}
# Another check stands behind these two: what the mutant lets through is refused all the same.
BEHIND = {"certificate cut meanwhile": SESSION, "grant in the HELLO at all": SESSION}


def command_of(path):
    with open(BUILD + "/compile_commands.json", encoding="utf-8") as file:
        for row in json.load(file):
            if os.path.samefile(row["file"], f"{ROOT}/{path}"):
                words = shlex.split(row["command"])
                return words[1:] if os.path.basename(words[0]) == "ccache" else words
    raise SystemExit(f"{path}: the build doesn't compile it")


def compile_to(path, text, folder):
    source, target = f"{folder}/{os.path.basename(path)}", f"{folder}/mutant.o"
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    words = command_of(path)
    words = words[: words.index("-o")] + ["-Wno-error", "-w", "-o", target, "-c", source]
    done = subprocess.run(words, cwd=BUILD, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{path}: the mutant does not compile\n{done.stderr}")
    return target


def libraries():
    packages = "openssl libsodium libprotobuf-c jansson libuv cmocka".split()
    done = subprocess.run(["pkg-config", "--libs", *packages], check=True, capture_output=True, text=True)
    return done.stdout.split()


def link(mutant, test, folder):
    objects = [f"{BUILD}/tests/sdk/CMakeFiles/test_sdk_{test}.dir/{name}.c.o" for name in (f"test_{test}", "talk")]
    floors = [f"{BUILD}/lib/lib{name}.a" for name in "test_helpers wf_sdk wf_link wf_pki wf_wire wf_base".split()]
    compiler = command_of("sdk/session.c")
    flags = [word for word in compiler if word.startswith("-fsanitize=")]
    program = f"{folder}/test"
    words = [compiler[0], *flags, "-o", program, mutant, *objects, *floors, *libraries(), "-pthread"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the mutant does not link\n{done.stderr}")
    return program


def failed_tests(name):
    path, there, instead, test = MUTANTS[name]
    with open(f"{ROOT}/{path}", encoding="utf-8") as file:
        text = file.read()
    if text.count(there) != 1:
        raise SystemExit(f"{name}: stands {text.count(there)} times in {path}, not once: {there!r}; mend MUTANTS")
    with tempfile.TemporaryDirectory() as folder:
        program = link(compile_to(path, text.replace(there, instead), folder), test or BEHIND[name], folder)
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        done = subprocess.run([program], capture_output=True, text=True, timeout=250, env=env)
    failed = [line.split("] ", 1)[1] for line in done.stderr.split("\n") + done.stdout.split("\n") if line.startswith("[  FAILED  ] ")]
    if done.returncode != 0 and not failed:
        failed = ["(the test program ended by itself)"]
    return [line for line in dict.fromkeys(failed) if "test(s)" not in line]


def main():
    names = sys.argv[2:] or list(MUTANTS)
    survivors = 0
    for name in names:
        failed = failed_tests(name)
        if failed:
            print(f"without '{name}': {len(failed)} fail, first {failed[0]}", flush=True)
        elif name in BEHIND:
            print(f"without '{name}': the check behind it holds", flush=True)
        else:
            survivors += 1
            print(f"without '{name}': NOTHING FAILS", flush=True)
    print(f"{len(names)} checks taken away, {survivors} unnoticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
