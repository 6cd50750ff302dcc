#!/usr/bin/env python3
"""Shows that the hostile tests can fail: takes out one check at a time, and some test must notice.

    mutate.py SOURCE BUILD [NAME...]

Works on a copy of the tree in BUILD. Each row names what is taken out and the edits that do it; where two
checks guard the same thing, both go. Prints a line a row; exit 0 if every one was noticed.
"""
import os
import shutil
import subprocess
import sys

GRANT, CHAIN, HELLO = "pki/grant.c", "pki/chain.c", "sdk/hello.c"
TERMS, DIAL, STANDING = "pki/terms.c", "router/dial.c", "sdk/standing.c"
ROWS = [
    ("chain: leads to our roots", [(CHAIN, "if (X509_verify_cert(ctx) != 1) {", "if (X509_verify_cert(ctx) == 7) {")]),
    ("chain: kind of the leaf", [(CHAIN, "if ((v->subject.kind & kinds) == 0) {", "if (kinds == 0) {"),
                                 (GRANT, "who->kind != PKI_IDENTITY || ", "")]),
    ("chain: end of the leaf", [(CHAIN, "if (now <= v->leaf_until ||", "if (now != 7 ||"),
                                (CHAIN, "if (now > subject->not_after)", "if (now == 7)")]),
    ("grant: signature", [(GRANT, "err = pki_record_verify(record, label,", "err = WEFT_OK; (void)pki_record_verify(record, label,")]),
    ("grant: trust domain", [(GRANT, "if (strcmp(g->trust_domain, pki_trust_domain(trust)) != 0)\n        return wf_fail(why, WEFT_ECREDENTIAL, \"the grant is",
                              "if (now_is(7))\n        return wf_fail(why, WEFT_ECREDENTIAL, \"the grant is")]),
    ("grant: subject", [(GRANT, "!wf_id_equal(&subject, &who->id))", "now_is(7))")]),
    ("grant: key", [(GRANT, "if (!has_pin(g->pins, g->n_pins, &who->pin))", "if (now_is(7))")]),
    ("grant: service", [(GRANT, "(service != NULL && !wf_id_equal(&of, service))", "now_is(7)")]),
    ("grant: role", [(GRANT, "if (g->role != role)", "if (now_is(7))")]),
    ("grant: not before", [(GRANT, "if (now + WF_CLOCK_TOLERANCE_MS < g->not_before)", "if (now_is(7))")]),
    ("grant: expiry", [(GRANT, "if (now >= g->expiry)", "if (now_is(7))")]),
    ("grant: floors", [(GRANT, "if (g->epoch < floor ||", "if (now_is(7) ||")]),
    ("grant: windows", [(GRANT, "    weft_err err = pki_terms_check_window(&grant->terms, now, why);\n", "    weft_err err = now_is(7) ? pki_terms_check_window(&grant->terms, now, why) : WEFT_OK;\n")]),
    ("terms: a source holds its addresses", [(TERMS, "if (t->sources[i].len == one.len && holds(&t->sources[i], one.address))", "if (t->sources[i].len == one.len)")]),
    ("terms: IPv4 is no IPv6", [(TERMS, "if (t->sources[i].len == one.len && holds(", "if (holds(")]),
    ("terms: when a window closes", [(TERMS, "return since < to - from + WF_CLOCK_TOLERANCE_MS;", "return since < to - from + 2 * WF_CLOCK_TOLERANCE_MS;")]),
    ("router: source of a dial", [(DIAL, "err = pki_terms_check_source(&grant.terms, wf_link_remote(edge->link), &why);", "err = WEFT_OK;")]),
    ("router: source of a bind", [("router/edge.c", "err = pki_terms_check_source(&bind.grant.terms, wf_link_remote(edge->link), &why);", "err = WEFT_OK;")]),
    ("session: idle", [(STANDING, "} else if (idle != 0 && mono - s->active >= idle) {", "} else if (now_is(7)) {")]),
    ("session: age", [(STANDING, "if (age != 0 && mono - s->started >= age) {", "if (now_is(7)) {")]),
    ("session: the smaller limit", [(STANDING, "return a == 0 || (b != 0 && b < a) ? b : a;", "return a == 0 ? b : a;")]),
    ("host: sessions", [(STANDING, "if (most != 0 && all >= most)", "if (now_is(7))")]),
    ("host: sessions of one identity", [(STANDING, "if (most_each != 0 && of_it >= most_each)", "if (now_is(7))")]),
    ("HELLO: service", [(HELLO, "if (!wf_id_equal(&service, &expected->service))", "if (now_is(7))")]),
    ("HELLO: session", [(HELLO, "if (!wf_id_equal(&session, &expected->session))", "if (now_is(7))")]),
    ("HELLO: role", [(HELLO, "if (item->role != expected->role)", "if (now_is(7))")]),
    ("HELLO: instance", [(HELLO, "if (!wf_id_is_zero(&expected->instance) && !wf_id_equal(&instance, &expected->instance))", "if (now_is(7))")]),
    ("session: the first record's header", [("sdk/session.c", "if (!begins_right(s, data, len)) {", "if (now_is(7)) {")]),
    ("session: a circuit's code is nobody's word", [("sdk/session.c", "if (code != WEFT_OK && s->state < WF_SESSION_OPEN && !s->spoke)", "if (code != WEFT_OK)")]),
    ("session: acknowledged but never sent", [("sdk/flow.c", "if (ack->received > flow->sent)", "if (now_is(7))")]),
]
SEAM = "static inline int now_is(int x) { static volatile int now; return now == x; }\n"
TESTS = ("hostile_peer", "hostile_terms", "hostile_wire")


def run(*words, **more):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def build(out):
    done = run("cmake", "--build", out, "--target", *(f"test_{t}" for t in TESTS))
    if done.returncode != 0:
        sys.exit(f"mutate: does not build:\n{done.stdout[-3000:]}")


def passes(out):
    """The first test that fails, or None."""
    for test in TESTS:
        try:
            done = run(f"{out}/tests/test_{test}", timeout=300)
        except subprocess.TimeoutExpired:
            return f"{test} (hangs)"
        if done.returncode != 0:
            failed = [line for line in done.stdout.splitlines() if line.startswith("ERROR:")]
            return f"{test}: {failed[0][7:90] if failed else done.stdout.strip().splitlines()[-1][:80]}"
    return None


def main():
    source, folder = (os.path.abspath(p) for p in sys.argv[1:3])
    wanted = sys.argv[3:]
    tree, out = f"{folder}/tree", f"{folder}/build"
    shutil.rmtree(folder, ignore_errors=True)
    for name in run("git", "-C", source, "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines():
        if not os.path.exists(f"{source}/{name}"):
            continue
        os.makedirs(os.path.dirname(f"{tree}/{name}"), exist_ok=True)
        shutil.copy2(f"{source}/{name}", f"{tree}/{name}")
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    done = run("cmake", "-S", tree, "-B", out, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=-w", *launcher)
    if done.returncode != 0:
        sys.exit(done.stdout)
    build(out)
    failed = passes(out)
    if failed:
        sys.exit(f"mutate: fails with every check in place: {failed}")
    missed = 0
    rows = [row for row in ROWS if not wanted or row[0] in wanted]
    for name, edits in rows:
        originals = {}
        for file, old, new in edits:
            path = f"{tree}/{file}"
            with open(path) as f:
                text = f.read()
            originals.setdefault(path, text)
            if text.count(old) != 1:
                sys.exit(f"mutate: {name}: {file} has the check {text.count(old)} times; mend the row")
            text = text.replace(old, new)
            if "now_is(" in new and SEAM not in text:
                at = text.index("\n\n", text.rindex("#include")) + 1
                text = text[:at] + SEAM + text[at:]
            with open(path, "w") as f:
                f.write(text)
        build(out)
        failed = passes(out)
        print(f"{'noticed' if failed else 'MISSED ':8} {name:48} {failed or ''}", flush=True)
        missed += failed is None
        for path, text in originals.items():
            with open(path, "w") as f:
                f.write(text)
    print(f"{len(rows) - missed} of {len(rows)} noticed")
    sys.exit(missed > 0)


if len(sys.argv) < 3:
    sys.exit(__doc__)
main()
