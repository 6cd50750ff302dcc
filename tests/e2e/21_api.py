#!/usr/bin/env python3
"""The HTTPS API against its document, what is refused, administrators with less than full rights, and weft apply."""

import base64
import http.client
import itertools
import json
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse

import jsonschema

from e2e import SOURCE, USAGE, POLICY, Fabric, Failure, Tcp, check, echo, free_port, main, saw, step, until

with open(os.path.join(SOURCE, "docs", "openapi.json"), encoding="utf-8") as f:
    DOCUMENT = json.load(f)
METHODS = ("get", "put", "post", "patch", "delete")
OPERATIONS = {
    DOCUMENT["paths"][path][method]["operationId"]: (method.upper(), path, DOCUMENT["paths"][path][method])
    for path in DOCUMENT["paths"]
    for method in DOCUMENT["paths"][path]
    if method in METHODS
}
BIG = 40000  # over the 32 KiB that a body may have


def resolve(thing):
    while "$ref" in thing:
        at = DOCUMENT
        for part in thing["$ref"].split("/")[1:]:
            at = at[part]
        thing = at
    return thing


def validator(schema):
    return jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {key.lower(): value for key, value in response.getheaders()}
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)

    def __str__(self):
        return f"{self.status} {self.headers} {self.text[:600]}"


class Client:
    """Calls by operationId. What comes back must be what the document says; what was seen is counted."""

    seen = set()

    def __init__(self, room, identity=None, token=None, source="127.0.0.1"):
        self.room, self.token, self.source = room, token, source
        self.context = ssl.create_default_context(cafile=room.path("controller", "api-ca.pem"))
        if identity:
            with open(identity, encoding="utf-8") as file:
                parts = json.load(file)
            pem = room.write(f"{os.path.basename(identity)}.{id(self)}.pem", parts["key"] + parts["certificate"])
            self.context.load_cert_chain(pem)
        self.connection = None

    def connect(self):
        self.connection = http.client.HTTPSConnection(
            "127.0.0.1", self.room.api, context=self.context, timeout=30, source_address=(self.source, 0)
        )

    def raw(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        for fresh in (False, True):
            if self.connection is None or fresh:
                self.connect()
            try:
                self.connection.request(method, path, body=body, headers=headers)
                return Answer(self.connection.getresponse())
            except (http.client.RemoteDisconnected, ConnectionError, http.client.CannotSendRequest):
                if fresh:
                    raise
        raise Failure("no answer")

    def call(self, operation, which=None, query=None, body=None, headers=None, expect=None, kind="application/json", patient=True):
        method, path, row = OPERATIONS[operation]
        headers = dict(headers or {})
        if which is not None:
            path = path.replace("{which}", urllib.parse.quote(which, safe=""))
        if query:
            path += "?" + urllib.parse.urlencode(query)
        if body is not None:
            headers.setdefault("Content-Type", kind)
            if not isinstance(body, (str, bytes)):
                body = json.dumps(body)
        answer = self.raw(method, path, body, headers)
        while answer.status == 429 and patient:  # it is told when to come again; a test is in a hurry
            check(int(answer.headers["retry-after"]) > 0, answer)
            time.sleep(0.1)
            answer = self.raw(method, path, body, headers)
        self.judge(operation, row, answer)
        if expect is not None:
            check(answer.status == expect, f"{operation} {which or ''} {body or ''}: not {expect} but", answer)
        return answer

    def judge(self, operation, row, answer):
        check(str(answer.status) in row["responses"], f"{operation}: a status that is not declared:", answer)
        declared = resolve(row["responses"][str(answer.status)])
        if "content" in declared:
            kind = answer.headers.get("content-type")
            check(kind in declared["content"], operation, answer)
            if not kind.startswith("application/"):
                return  # the server's own word about broken HTTP
            validator(declared["content"][kind]["schema"]).validate(answer.json)
        if "content" not in declared:
            check(answer.text == "", operation, answer)
        for name in declared.get("headers", {}):
            check(name == "Location" or name.lower() in answer.headers, f"{operation}: no {name}:", answer)
        if answer.status >= 400:
            check("\n" not in answer.json["detail"] and answer.json["status"] == answer.status, answer)
        self.seen.add((operation, answer.status))


class Stage(Fabric):
    def __init__(self):
        self.api = free_port()
        super().__init__()
        self.echo = Tcp(echo)
        _, self.dialer = self.serve("echo", self.echo.port)
        _, self.port = self.proxy("echo", self.dialer)
        self.admin_client = Client(self, self.admin_file)
        self.plain = self.identity("plain")

    def start_controller(self, *args):
        return super().start_controller("--api", f"127.0.0.1:{self.api}", *args)

    def identity(self, name, rights=None):
        token = self.path(f"{name}.jwt")
        self.admin("identity", "create", name, "--token-out", token)
        out = self.enroll(token)
        if rights:
            self.admin("admin", "add", name, "--rights", rights)
        return out

    def login(self, identity):
        return self.must("weft", "login", f"127.0.0.1:{self.control}", "--identity", identity, "--print-token").out.strip()

    def digest(self, client=None):
        """All that can be changed by calls, as text."""
        client = client or self.admin_client
        lists = ("identity.list", "service.list", "policy.list", "router.list", "admin.list")
        return json.dumps([client.call(name, expect=200).json for name in lists], sort_keys=True)


@step("every success that the document declares")
def _(fabric):
    api = fabric.admin_client
    api.call("openapi", expect=200)
    check(api.raw("GET", "/v1/openapi.json").json == DOCUMENT, "what is served is not the document")
    api.call("status", expect=200)
    api.call("rotation.status", expect=200)
    check(len(api.call("login", body={}, expect=200).json["token"]) == 43)
    for noun, body in {
        "identity": {"roles": ["#ci", "prod"]},
        "service": {"roles": ["#prod"], "mode": "both", "limits": {"sessions": 3}},
        "policy": {"type": "dial", "identity_roles": ["#ci"], "service_roles": ["@echo"], "windows": ["mon-fri 08:00-18:00"]},
        "router": {},
    }.items():
        name = f"a-{noun}"
        dry = api.call(f"{noun}.create", body={"name": name, **body, "dry_run": True}, expect=200)
        check("token" not in dry.json and "location" not in dry.headers, dry)
        made = api.call(f"{noun}.create", body={"name": name, **body}, expect=201)
        check(made.headers["location"].endswith(f"/{name}"), made)
        shown = api.call(f"{noun}.show", name, expect=200)
        check(shown.headers["etag"] == made.headers["etag"], "the ETag of what was made", made)
        check(api.call(f"{noun}.show", shown.json["id"], expect=200).json == shown.json, "by id")
        api.call(f"{noun}.show", name, headers={"If-None-Match": shown.headers["etag"]}, expect=304)
        listed = api.call(f"{noun}.list", query={"prefix": name}, expect=200).json["items"]
        check(listed == [shown.json], listed)
        if noun != "router":
            api.call(f"{noun}.update", name, body={"roles" if noun != "policy" else "identity_roles": ["#new"]},
                     headers={"If-Match": shown.headers["etag"]}, expect=200)  # fmt: skip
            whole = api.call(f"{noun}.put", name, body=body, expect=200)
            check(api.call(f"{noun}.put", name, body=body, expect=200).text == whole.text, "PUT twice")
            check(whole.json == shown.json and whole.headers["etag"] == shown.headers["etag"], "back to what it was", whole)
            put = api.call(f"{noun}.put", f"put-{noun}", body=body, headers={"If-None-Match": "*"}, expect=201)
            check(put.headers["location"].endswith(f"/put-{noun}"), put)
        if noun in ("identity", "router"):
            check(api.call(f"{noun}.reissue", name, body={}, expect=200).json["token"])
            check(api.call(f"{noun}.disable", name, expect=200).json["state"] == "disabled")
            check(api.call(f"{noun}.enable", name, body={}, expect=200).json["state"] == "pending")
        api.call(f"{noun}.delete", name, query={"dry_run": "true"}, expect=200)
        api.call(f"{noun}.delete", name, expect=200)
        api.call(f"{noun}.show", name, expect=404)
    api.call("admin.add", "plain", body={"rights": ["read", "services:write"]}, expect=200)
    check(len(api.call("admin.list", expect=200).json["items"]) == 2)
    api.call("admin.remove", "plain", expect=200)
    rule = {"who": "#ci", "type": "dial", "what": "@echo"}
    check(api.call("allow", body=rule, expect=200).json == api.call("allow", body=rule, expect=200).json, "allow twice")
    api.call("disallow", body=rule, expect=200)
    api.call("share", body={"name": "ours"}, expect=200)
    check(api.call("explain", query={"identity": "echo-dialer", "service": "echo"}, expect=200).json["allowed"])
    with socket.create_connection(("127.0.0.1", fabric.port)) as talk:
        talk.sendall(b"hello")
        check(talk.recv(5) == b"hello")
        session = until("the session", lambda: api.call("session.list", expect=200).json["items"])[0]
        api.call("session.cut", session["id"], expect=200)
        talk.settimeout(15)
        try:
            check(talk.recv(1) == b"", "the session goes on")
        except ConnectionError:
            pass


@step("authorities, issuers and the audit log over HTTPS")
def _(fabric):
    api = fabric.admin_client
    key, cert = fabric.path("acme.key"), fabric.path("acme.pem")
    fabric.must("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                "-subj", "/CN=Acme", "-days", "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    certificate = base64.b64encode(open(cert, "rb").read()).decode()
    body = {"name": "acme", "certificate": certificate, "auto": True}
    api.call("ca.add", body={**body, "dry_run": True}, expect=200)
    made = api.call("ca.add", body=body, expect=201)
    check(made.headers["location"] == "/v1/cas/acme" and made.json["state"] == "unverified", made)
    api.call("ca.add", body=body, expect=409)
    api.call("ca.token", "acme", body={}, expect=409)
    challenge = fabric.write("challenge", made.json["challenge"])
    fabric.must("openssl", "dgst", "-sha256", "-sign", key, "-out", fabric.path("signature"), challenge)
    signature = base64.b64encode(open(fabric.path("signature"), "rb").read()).decode()
    api.call("ca.verify", "acme", body={"signature": base64.b64encode(b"no").decode()}, headers={"If-Match": "*"}, expect=None)
    check(api.call("ca.verify", "acme", body={"signature": signature}, expect=200).json["state"] == "verified")
    check(api.call("ca.token", "acme", body={"token_life_s": 60}, expect=200).json["token"])
    jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k", "x": base64.urlsafe_b64encode(b"\x01" * 32).decode().rstrip("=")}
    fabric.must("openssl", "genpkey", "-algorithm", "ed25519", "-out", fabric.path("ed.key"))
    der = fabric.run("openssl", "pkey", "-in", fabric.path("ed.key"), "-pubout", "-outform", "DER", text=False).out
    jwk["x"] = base64.urlsafe_b64encode(der[-32:]).decode().rstrip("=")
    jwks = base64.b64encode(json.dumps({"keys": [jwk]}).encode()).decode()
    body = {"name": "git", "issuer": "https://issuer.example", "audience": "weft", "jwks": jwks, "claims": ["repository == acme/web"]}
    api.call("oidc.add", body={**body, "dry_run": True}, expect=200)
    api.call("oidc.add", body=body, expect=201)
    api.call("oidc.add", body=body, expect=409)
    check(api.call("oidc.token", "git", body={}, expect=200).json["token"])
    for noun, name in (("ca", "acme"), ("oidc", "git")):
        shown = api.call(f"{noun}.show", name, expect=200)
        api.call(f"{noun}.show", name, headers={"If-None-Match": shown.headers["etag"]}, expect=304)
        check(api.call(f"{noun}.list", query={"prefix": name}, expect=200).json["items"] == [shown.json])
        api.call(f"{noun}.remove", name, query={"dry_run": "true"}, expect=200)
        api.call(f"{noun}.remove", name, expect=200)
        for verb in ("show", "remove"):
            api.call(f"{noun}.{verb}", name, expect=404)
        api.call(f"{noun}.token", name, body={}, expect=404)
    api.call("ca.verify", "acme", body={"signature": signature}, expect=404)
    entries = api.call("audit.list", query={"limit": 5}, expect=200).json
    check(len(entries["items"]) == 5 and b"ca.remove" in b"".join(base64.b64decode(e["bytes"]) for e in api.call("audit.list", query={"after": 1, "limit": 500}, expect=200).json["items"]), entries)
    until("a checkpoint", lambda: api.call("audit.checkpoints", query={"after": 0}, expect=200).json["items"])
    until("a proof", lambda: api.call("audit.prove", query={"seq": 3}).status == 200)
    api.call("audit.prove", query={"seq": 999999}, expect=404)


@step("paging and filters give everything once, and what was asked for alone")
def _(fabric):
    api = fabric.admin_client
    for i in range(23):
        api.call("service.put", f"page-{i:02}", body={"roles": ["#even"] if i % 2 == 0 else []}, expect=201)
    names, query = [], {"limit": 5, "prefix": "page-"}
    while True:
        page = api.call("service.list", query=query, expect=200).json
        check(len(page["items"]) <= 5, page)
        names += [item["name"] for item in page["items"]]
        if "next" not in page:
            break
        query["after"] = page["next"]
    check(names == [f"page-{i:02}" for i in range(23)], names)
    even = api.call("service.list", query={"role": "#even", "prefix": "page-"}, expect=200).json["items"]
    check([item["name"] for item in even] == names[::2], even)
    check(api.call("identity.list", query={"state": "disabled"}, expect=200).json["items"] == [])
    for name in names:
        api.call("service.delete", name, expect=200)


@step("the methods of a path, HEAD, OPTIONS, and what is no path")
def _(fabric):
    api = fabric.admin_client
    answer = api.raw("PATCH", "/v1/routers/r1", body="{}", headers={"Content-Type": "application/json"})
    check(answer.status == 405 and answer.headers["allow"] == "GET, HEAD, DELETE, OPTIONS", answer)
    answer = api.raw("OPTIONS", "/v1/identities")
    check(answer.status == 204 and answer.headers["allow"] == "GET, HEAD, POST, OPTIONS", answer)
    head, get = api.raw("HEAD", "/v1/identities/plain"), api.raw("GET", "/v1/identities/plain")
    check(head.status == 200 and head.text == "" and head.headers["etag"] == get.headers["etag"], head)
    check(head.headers["content-length"] == get.headers["content-length"], head)
    for path in ("/", "/v1", "/v1/", "/v2/status", "/v1/status/", "/v1//status", "/v1/identities/plain/nothing", "/v1/Status"):
        answer = api.raw("GET", path)
        check(answer.status == 404 and answer.json["code"] == "WEFT_ENOTFOUND", path, answer)
    for name in ("%00", "a%2Fb", "%c3%a4", "%zz", "a%", ".", "-x", "a" * 300, "%20"):
        answer = api.raw("GET", f"/v1/identities/{name}")
        check(answer.status in (400, 404), name, answer)


@step("a page of another origin changes nothing with the certificate that a browser shows for it")
def _(fabric):
    api = fabric.admin_client
    before = api.raw("GET", "/v1/identities/plain")
    for origin in ("https://evil.test", "null", "", f"http://127.0.0.1:{fabric.api}", "https://127.0.0.1", f"https://127.0.0.1:{fabric.api}0"):
        answer = api.raw("POST", "/v1/identities/plain/disable", headers={"Origin": origin})
        check(answer.status == 403 and answer.json["code"] == "WEFT_EREFUSED", origin, answer)
    check(api.raw("GET", "/v1/identities/plain").text == before.text, before)
    for verb, origin in (("disable", None), ("enable", f"https://127.0.0.1:{fabric.api}")):
        answer = api.raw("POST", f"/v1/identities/plain/{verb}", headers={"Origin": origin} if origin else None)
        check(answer.status == 200, verb, answer)


@step("of twenty changes by one ETag one is made")
def _(fabric):
    api = fabric.admin_client
    etag = api.call("service.put", "raced", body={}, expect=201).headers["etag"]
    statuses = []

    def change(number):
        client = Client(fabric, fabric.admin_file)
        statuses.append(
            client.call("service.update", "raced", body={"roles": [f"#r{number}"]}, headers={"If-Match": etag}).status
        )

    threads = [threading.Thread(target=change, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(sorted(statuses) == [200] + [412] * 19, statuses)
    api.call("service.delete", "raced", headers={"If-Match": etag}, expect=412)
    api.call("service.delete", "raced", headers={"If-Match": "*"}, expect=200)


@step("who may: a certificate or a login, one of them, as long as the administrator is one")
def _(fabric):
    boss, other = fabric.identity("boss", "full"), fabric.identity("other", "read,services:write")
    token = fabric.login(boss)
    client = Client(fabric, token=token)
    client.call("status", expect=200)
    client.call("login", body={}, expect=403)
    Client(fabric, boss, token).call("status", expect=200)
    answer = Client(fabric, other, token).call("status", expect=400)
    check("one of them" in answer.json["detail"], answer)
    Client(fabric, token="A" * 43).call("status", expect=401)
    check(Client(fabric).call("status", expect=401).headers["www-authenticate"].startswith("Bearer"))
    check(client.raw("GET", f"/v1/status?access_token={token}").status == 400, "a token in the URL")
    fabric.admin("identity", "disable", "boss")
    client.call("status", expect=401)
    fabric.admin("identity", "enable", "boss")
    client.call("status", expect=200)
    fabric.admin("admin", "remove", "boss")
    client.call("status", expect=403)
    check(token not in fabric.controller.said(), "the token is in the log")
    logins = [fabric.login(other) for _ in range(17)]
    Client(fabric, token=logins[0]).call("status", expect=401)  # sixteen at once, the oldest went
    Client(fabric, token=logins[16]).call("status", expect=200)


@step("an administrator with less than full rights does that and no more")
def _(fabric):
    client = Client(fabric, fabric.path("other.json"))
    client.call("service.put", "theirs", body={}, expect=201)
    client.call("service.delete", "theirs", expect=200)
    answer = client.call("identity.create", body={"name": "mine"}, expect=403)
    check("needs the right to identities:write; yours: read, services:write" in answer.json["detail"], answer)
    client.call("admin.list", expect=403)
    client.call("admin.add", "other", body={}, expect=403)
    client.call("share", body={"name": "x"}, expect=403)
    done = fabric.weft("admin", "list", "--identity", fabric.path("other.json"))
    check(done.code == POLICY, done)
    fabric.admin("admin", "add", "other", "--rights", "identities:write")
    client.call("identity.reissue", "admin", body={}, expect=403)
    client.call("identity.disable", "admin", expect=403)
    client.call("identity.update", "admin", body={"new_name": "gone"}, expect=403)
    client.call("identity.delete", "admin", expect=403)


@step("every error that the document declares")
def _(fabric):
    api, nobody = fabric.admin_client, Client(fabric)
    plain = Client(fabric, fabric.plain)
    api.call("identity.put", "there", body={}, expect=201)
    api.call("service.put", "there", body={}, expect=201)
    api.call("policy.put", "there", body={"type": "dial"}, expect=201)
    before = fabric.digest()
    for name, (method, path, row) in OPERATIONS.items():
        declared = set(row["responses"])
        which = "missing" if "{which}" in path else None
        if "sessions" in path:
            which = "0" * 31 + "1"
        body = {} if "requestBody" in row else None
        if "401" in declared:
            nobody.call(name, which, body=body, expect=401)
        if "403" in declared:
            plain.call(name, which, body=body, expect=403)
        if "400" in declared:
            api.call(name, which, query={"nonsense": 1}, body=body, expect=400)
        if "413" in declared:
            api.call(name, which, body='{"name":"' + "x" * BIG + '"}', expect=413)
        if "415" in declared:
            api.call(name, which, body="{}", kind="text/plain", expect=415)
        if "412" in declared:
            api.call(name, "there" if "routers" not in path else "r1", body={"type": "dial"} if "policies" in path and body is not None else body,
                     headers={"If-Match": '"0"'}, expect=412)  # fmt: skip
    missing = "f" * 32
    for noun in ("identity", "service", "policy"):
        api.call(f"{noun}.update", "missing", body={"new_name": "x"} if noun != "policy" else {"semantic": "anyOf"}, expect=404)
        api.call(f"{noun}.put", missing, body={"type": "dial"} if noun == "policy" else {}, expect=404)
        api.call(f"{noun}.delete", "missing", expect=404)
        api.call(f"{noun}.show", missing, expect=404)
        api.call(f"{noun}.create", body={"name": "there", **({"type": "dial"} if noun == "policy" else {})}, expect=409)
    for noun in ("identity", "router"):
        for verb in ("show", "disable", "enable", "reissue", "delete"):
            api.call(f"{noun}.{verb}", "missing", expect=404)
    api.call("router.create", body={"name": "r1"}, expect=409)
    api.call("identity.disable", "admin", expect=409)
    api.call("identity.delete", "admin", expect=409)
    api.call("admin.add", "admin", body={"rights": ["read"]}, expect=409)
    api.call("admin.remove", "admin", expect=409)
    api.call("admin.add", "missing", body={}, expect=404)
    api.call("admin.remove", "missing", expect=404)
    api.call("session.cut", "0" * 31 + "1", expect=404)
    api.call("explain", query={"identity": "missing", "service": "echo"}, expect=404)
    api.call("disallow", body={"who": "#x", "type": "dial", "what": "#y"}, expect=404)
    api.call("share", body={"name": "echo"}, expect=409)
    check(fabric.digest() == before, "a refused call changed something")


def bad_values(schema):
    """What the schema doesn't allow, out of what is sent to break things."""
    deep = []
    for _ in range(100):
        deep = [deep]
    values = [
        "", " ", "a b", "a/b", "a,b", "../x", "a\x00b", "\u0430dmin", "\uff41dmin", "admin\u200b", "a\r\nb", "x" * 65, "#all,@x",
        0, -1, 1e30, 1.5, True, None, [], {}, [""], ["a\x00"], [1], [[]], ["\u0430"], ["x"] * 70, {"a": 1}, deep, "\ud800",
    ]  # fmt: skip
    judge = validator(schema)
    bad = [value for value in values if not judge.is_valid(value)]
    return bad if os.environ.get("WEFT_FULL") else random.sample(bad, min(len(bad), 8))


@step("bad input in any field is one clear refusal, and nothing is changed")
def _(fabric):
    # Several administrators from several addresses, or most of the time would go by waiting for one's turn.
    crowd = [Client(fabric, fabric.identity(f"crowd-{n}", "full"), source=f"127.0.0.{20 + n}") for n in range(4)]
    turns, tried = itertools.cycle(crowd), 0
    for name, (method, path, row) in OPERATIONS.items():
        which = "there" if "{which}" in path else None
        before = fabric.digest(next(turns))
        if "admins" in path:
            which = "plain"
        if "routers" in path and which:
            which = "r1"
        schema = resolve(row["requestBody"]["content"]["application/json"]["schema"]) if "requestBody" in row else {}
        fine = {"name": "fresh", "type": "dial", "who": "#a", "what": "#b"}
        whole = {key: value for key, value in fine.items() if key in schema.get("required", [])}
        bodies = [{**whole, key: value} for key, field in schema.get("properties", {}).items() for value in bad_values(field)]
        bodies += [{key: whole[key] for key in whole if key != gone} for gone in whole]
        bodies += [{**whole, "unknown": 1}, {**whole, "": 1}] if schema else []
        if schema:
            bodies += ["", "{", "[]", "null", '{"a":1,"a":1}', '{"name":"x","name":"y"}', "{}{}", "\xff", '{"a":' * 5000, "\ufeff{}"]
        for body in bodies:
            if isinstance(body, str):
                if body == "" and not row["requestBody"]["required"]:
                    continue
                body = body.encode("latin-1") if body == "\xff" else body.encode()
            answer = next(turns).call(name, which, body=body)
            check(400 <= answer.status < 500, f"{name} {body!r}:", answer)
            tried += 1
        for field in row.get("parameters", []):
            if field["in"] != "query" or name == "openapi":
                continue
            for value in ("", "a b", "a/b", "\x00", "\u0430", "x" * 200, "true\n", "-1", "99999999999999"):
                if field["schema"].get("type") == "string" and "pattern" not in field["schema"] and value not in ("", "\x00", "\u0430"):
                    continue
                if value == "-1" and "service" not in field["name"] and "pattern" not in field["schema"] and "enum" not in field["schema"] and field["schema"].get("type") not in ("integer", "boolean"):
                    continue
                if validator(field["schema"]).is_valid(value):
                    continue
                query = {"identity": "plain", "service": "echo", field["name"]: value} if name == "explain" else {field["name"]: value}
                answer = next(turns).call(name, which, query=query)
                # What is well formed but means nothing finds nothing: an empty list.
                check(400 <= answer.status < 500 or answer.json == {"items": []}, f"{name} {query!r}:", answer)
                tried += 1
        check(fabric.digest(next(turns)) == before, f"{name}: something was changed")
    answer = None
    try:
        answer = crowd[0].raw("POST", "/v1/identities", body=b'{"name":"' + b"x" * 10_000_000 + b'"}', headers={"Content-Type": "application/json"})
    except (ConnectionError, ssl.SSLError, socket.timeout):
        pass  # it was told in the middle of the sending
    check(answer is None or answer.status == 413, answer)
    for client in range(4):
        fabric.admin("admin", "remove", f"crowd-{client}")
    saw(f"{tried} bad requests, each refused")


@step("who asks too often hears when to come again")
def _(fabric):
    greedy = fabric.identity("greedy", "read")
    token = fabric.login(greedy)
    stop = threading.Event()

    def hammer(source):
        client = Client(fabric, token=token, source=source)
        while not stop.is_set():
            client.raw("GET", "/v1/status")

    threads = [threading.Thread(target=hammer, args=(f"127.0.0.{n}",)) for n in (11, 12)]
    for thread in threads:
        thread.start()
    try:
        client = Client(fabric, token=token, source="127.0.0.13")
        until("the limit", lambda: client.raw("GET", "/v1/status").status == 429, 60, 0)
        for name, (_, path, row) in OPERATIONS.items():
            which = "x" if "{which}" in path else None
            if "429" in row["responses"]:
                body = {} if "requestBody" in row else None
                until(f"429 of {name}", lambda: client.call(name, which, body=body, patient=False).status == 429, 20, 0)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    wrong = Client(fabric, token="B" * 43, source="127.0.0.14")
    statuses = {wrong.raw("GET", "/v1/status").status for _ in range(60)}
    check(statuses == {401, 429}, statuses)
    fabric.admin_client.call("status", expect=200)


@step("nothing of the document was left out, and no route is missing in it")
def _(fabric):
    declared = {(name, int(status)) for name, (_, _, row) in OPERATIONS.items() for status in row["responses"]}
    check(declared <= Client.seen, "declared and never seen:", sorted(declared - Client.seen))
    saw(f"{len(OPERATIONS)} operations, {len(declared)} statuses")


FILE = """prefix: team-
identities:
  - name: team-ci
    roles: [ci]
  - name: team-host
services:
  - name: team-web
    limits:
      sessions: 10
policies:
  - name: team-dial
    type: dial
    identity_roles: ['#ci']
    service_roles: ['@team-web']
  - name: team-bind
    type: bind
    identity_roles: [team-host]
    service_roles: [team-web]
"""


@step("weft apply makes what the file says, once, and takes away what is gone from it")
def _(fabric):
    file = fabric.write("team.yaml", FILE)
    before = fabric.digest()
    dry = fabric.admin("apply", "-f", file, "--dry-run")
    check(dry.out.count("\n+ ") == 4 and "5 to create" in dry.err and fabric.digest() == before, dry)
    made = fabric.admin("apply", "-f", file, "--tokens-dir", fabric.path("tokens"))
    check(made.out == dry.out, made)
    check(sorted(os.listdir(fabric.path("tokens"))) == ["team-ci.jwt", "team-host.jwt"], made)
    check(os.stat(fabric.path("tokens", "team-ci.jwt")).st_mode & 0o777 == 0o600)
    again = fabric.admin("apply", "-f", file)
    check(again.out == "" and "no changes" in again.err, again)
    fabric.enroll(fabric.path("tokens", "team-ci.jwt"))
    fabric.write("team.yaml", FILE.replace("sessions: 10", "sessions: 20").replace("  - name: team-host\n", "").replace("[team-host]", "['#host']"))
    done = fabric.admin("apply", "-f", file)
    check("~ service team-web limits: sessions=10 -> sessions=20" in done.out, done)
    check("- identity" not in done.out, "without --prune nothing goes", done)
    done = fabric.admin("apply", "-f", file, "--prune", "--json")
    check([json.loads(line) for line in done.out.splitlines()] == [{"change": "delete", "kind": "identity", "name": "team-host", "fields": {}}], done)
    check("no changes" in fabric.admin("apply", "-f", file, "--prune").err)
    fabric.admin("identity", "show", "plain")  # outside of the prefix nothing is touched


@step("weft apply sets how long an identity's certificates last, and shows it as it is typed")
def _(fabric):
    short = "prefix: life-\nidentities:\n  - name: life-a\n    life: 30d\n  - name: life-b\n"
    file = fabric.write("life.yaml", short)
    made = fabric.admin("apply", "-f", file)
    check(made.out.splitlines() == ["+ identity life-a life: 30d", "+ identity life-b"], made)
    check("no changes" in fabric.admin("apply", "-f", file).err)
    lives = lambda name: json.loads(fabric.admin("identity", "show", name, "--json").out)["life_s"]  # noqa: E731
    check((lives("life-a"), lives("life-b")) == (30 * 86400, 90 * 86400))
    fabric.write("life.yaml", short.replace("    life: 30d\n", "").replace("life-b\n", "life-b\n    life: 90m\n"))
    done = fabric.admin("apply", "-f", file)
    check(done.out.splitlines() == ["~ identity life-a life: 30d -> 90d", "~ identity life-b life: 90d -> 90m"], done)
    check((lives("life-a"), lives("life-b")) == (90 * 86400, 5400))
    check("no changes" in fabric.admin("apply", "-f", file).err)
    for life in ("soon", "0", "1500ms"):
        done = fabric.weft("apply", "-f", fabric.write("bad.yaml", f"identities:\n  - name: a\n    life: {life}\n"), "--identity", fabric.admin_file)
        check(done.code == USAGE and 'bad.yaml:3: "life" must be a time' in done.error, life, done)
    done = fabric.weft("apply", "-f", fabric.write("bad.yaml", "identities:\n  - name: a\n    life: 1m\n"), "--identity", fabric.admin_file)
    check(done.code != 0 and "bad.yaml:2: identity 'a': argument 'life_s'" in done.err, done)


@step("weft apply names line and field of what it refuses, and does the rest")
def _(fabric):
    for text, words in {
        "identities:\n  - name: a\n    rolls: [x]\n": 'bad.yaml:3: unknown setting "rolls"',
        "identities:\n  - roles: [x]\n": 'bad.yaml:2: "name" is missing',
        "policies:\n  - name: p\n": 'bad.yaml:2: "type" is missing',
        "prefix: t-\nservices:\n  - name: web\n": "bad.yaml:3: 'web' doesn't begin with the file's prefix 't-'",
        "services:\n  - name: a\n  - name: a\n": "bad.yaml:3: service 'a' is there twice",
        "services:\n  - name: a b\n": "bad.yaml:2: ",
    }.items():
        done = fabric.weft("apply", "-f", fabric.write("bad.yaml", text), "--identity", fabric.admin_file)
        check(done.code == USAGE and words in done.error, words, done)
    text = "services:\n  - name: half-good\n  - name: half-bad\n    mode: steam\n"
    done = fabric.weft("apply", "-f", fabric.write("bad.yaml", text), "--identity", fabric.admin_file)
    check(done.code != 0 and "bad.yaml:3: service 'half-bad': mode 'steam' is none of" in done.err, done)
    check("1 of 2 changes failed" in done.error, done)
    fabric.admin("service", "show", "half-good")
    done = fabric.weft("apply", "-f", fabric.write("bad.yaml", "identities: []\n"), "--prune", "--identity", fabric.admin_file)
    check(done.code == USAGE and "it has no prefix" in done.error, done)


@step("weft apply is quick: many calls are under way at once")
def _(fabric):
    count = int(os.environ.get("WEFT_APPLY", "400"))
    text = "prefix: bulk-\nidentities:\n" + "".join(f"  - name: bulk-{i:06}\n    roles: [r{i % 10}]\n" for i in range(count))
    file = fabric.write("bulk.yaml", text)
    begun = time.monotonic()
    fabric.admin("apply", "-f", file, timeout=900)
    seconds = time.monotonic() - begun
    begun = time.monotonic()
    check("no changes" in fabric.admin("apply", "-f", file, "--prune", timeout=900).err)
    saw(f"{count} identities made in {seconds:.2f} s ({count / seconds:.0f}/s); compared in {time.monotonic() - begun:.2f} s")


main(Stage)
