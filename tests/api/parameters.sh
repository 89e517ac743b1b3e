#!/bin/bash
# What no route takes: every operation of /openapi.json with an unknown parameter, each of its parameters twice and with what is
# no value of it, an unknown member of its body, and members of other types. All are refused, and the field is named.
. tests/host.sh "$@"
. tests/api/api.sh

new_app
echo 'return { fields = { { "n", "int8" }, { "word", "text" } }, nullable = { { "note", "text" } } }' >"$app/kinds/thing.lua"
echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/square.lua"
cat >"$app/lifecycles/squares.lua" <<'LUA'
local M = { on = "thing", finds = { "square" }, monotone = true }
function M.process_data(thing, found) found.square(nil, thing.n * thing.n) end
return M
LUA
start_api
send POST /facts/thing '{"n":3,"word":"three"}'
wanted 200
get /wait?timeout_s=20
wanted 200
thing=$(sql "SELECT replace(_id::text, '-', '') FROM fact_thing")
square=$(sql "SELECT replace(_id::text, '-', '') FROM fact_square")
ingest=$(sql "SELECT id FROM ingest")
before=$(sql "SELECT (SELECT count(*) FROM audit), (SELECT count(*) FROM fact_thing), (SELECT count(*) FROM ingest), (SELECT count(*) FROM control)")

check "what no operation takes is refused, and the field is named"
python3 - "$base" "$thing" "$square" "$ingest" >"$TMPDIR/asked" <<'PYTHON' || fail "see above"
import json, sys, urllib.error, urllib.parse, urllib.request

base, thing, square, ingest = sys.argv[1:]
asked = wrong = 0


def ask(method, path, query=(), body=None, kind="application/json"):
    """Status, and the error of the answer."""
    url = base + path + ("?" + urllib.parse.urlencode(query) if query else "")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind} if data else {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, {}
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read() or b"{}").get("error", {})


def wants(field, method, path, query=(), body=None):
    """Refused because of field, with what was wanted."""
    global asked, wrong
    asked += 1
    status, error = ask(method, path, query, body)
    if status in (400, 422) and error.get("field") in (field, f"{query[-1][1]}~".split("~")[0] if field == "f" else field) and error.get("message"):
        return
    wrong += 1
    print(f"{method} {path} {query} {body}: wanted a refusal of {field}, got {status} {error}", file=sys.stderr)


document = json.load(urllib.request.urlopen(base + "/openapi.json", timeout=20))


def resolve(schema):
    while "$ref" in schema:
        node = document
        for part in schema["$ref"][2:].split("/"):
            node = node[part]
        schema = node
    return schema


def in_path(path, name):
    if path.startswith("/facts/"):
        return thing if "/thing" in path else square
    if path.startswith("/ingests/"):
        return ingest
    return "squares:" + thing if path.startswith("/events/") else "squares"


def fits(parameter):
    """A value that is fine, for what must be there."""
    schema = resolve(parameter["schema"])
    schema = resolve(schema.get("items", schema))
    return str(schema["enum"][0]) if "enum" in schema else "3" if schema.get("type") == "integer" else "squares"


# Texts that say anything: any value will do.
FREE = {"name", "q", "act", "who"}
# By the parameter's name, beyond what its schema says.
NO_VALUE = {"before": ["x", ""], "after": ["x"], "lifecycle": ["square", "", "x'y"], "by": ["square", ""], "sig": ["xyz", ""],
            "order": ["x", "n~up"], "fields": ["x", "n,n", "_id", ""], "topics": ["x", "status,x", "lifecycle:square"],
            "window": ["2h", ""], "f": ["x", "n~eq", "n~like~1", "n~eq~x", "x~eq~1"]}


def no_values(parameter):
    schema = resolve(parameter["schema"])
    schema = resolve(schema.get("items", schema))
    if parameter["name"] in NO_VALUE:
        return NO_VALUE[parameter["name"]]
    if schema.get("type") == "integer" or "enum" in schema:
        return ["x", "", "-1", "99999999999999999999", "1.5", "1 "]
    return [] if parameter["name"] in FREE else None


def others(schema):
    """A value of another type."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return [value for name, value in (("string", "x"), ("integer", 1.5), ("object", {"x": 1}), ("array", [True]), ("boolean", True))
            if name not in kinds and not (name == "integer" and "number" in kinds)]


bodies = 0
for template, operations in document["paths"].items():
    path = template
    for name in [part[1:-1] for part in template.split("/") if part.startswith("{")]:
        path = path.replace("{" + name + "}", in_path(template, name))
    for method, operation in operations.items():
        method = method.upper()
        parameters = [resolve(p) for p in operation["parameters"]]
        parameters = [p for p in parameters if p["in"] == "query"]
        needed = [(p["name"], fits(p)) for p in parameters if p.get("required")]
        content = resolve(operation.get("requestBody", {})).get("content", {})
        schema = resolve(content.get("application/json", {}).get("schema", {}))
        is_facts = "application/x-ndjson" in content

        fact = {"n": 1, "word": "x"} if "/thing" in path else {"n": 1}
        sent = fact if is_facts else None

        wants("colour", method, path, needed + [("colour", "red")], sent)
        for parameter in parameters:
            name = parameter["name"]
            rest = [one for one in needed if one[0] != name]
            if name == "after" and any(p["name"] == "by" for p in parameters):
                rest = rest + [("by", "squares")]
            values = no_values(parameter)
            if values is None:
                print(f"{method} {template}: no values for parameter {name} in this test", file=sys.stderr)
                wrong += 1
                continue
            for value in values:
                wants(name, method, path, rest + [(name, value)], sent)
            if parameter.get("schema", {}).get("type") != "array":
                wants(name, method, path, rest + [(name, fits(parameter))] * 2, sent)
            if parameter.get("required"):
                wants(name, method, path, rest, sent)
        if is_facts:
            bodies += 1
            wants("colour", method, path, needed, dict(fact, colour="red"))
            for name in fact:
                wants(name, method, path, needed, dict(fact, **{name: [1]}))
        elif content:
            bodies += 1
            members = {}
            for one in schema.get("oneOf", schema.get("anyOf", [schema])):
                members.update(resolve(one).get("properties", {}))
            wants("colour", method, path, needed, {"colour": "red"})
            # What is fine, so that only the member in question is not.
            fine = {"reason": "a test", "per_s": None, "match": {}, "expect": 12345, "lifecycles": ["squares"]}
            for name, member in members.items():
                member = resolve(member)
                for value in others(member):
                    body = {key: fine[key] for key in members if key in fine and not (name == "ids" and key in ("match", "expect"))}
                    body[name] = value
                    wants(name, method, path, needed, body)
                for inner, inner_schema in member.get("properties", {}).items():
                    body = {key: fine[key] for key in members if key in fine}
                    body[name] = {"colour": "red"}
                    wants("colour", method, path, needed, body)
                    for value in others(resolve(inner_schema)):
                        body[name] = {inner: value}
                        wants(inner, method, path, needed, body)
        elif method != "GET":
            wants("colour", method, path, needed, {"colour": "red"})
print(f"{asked} requests, {sum(len(o) for o in document['paths'].values())} operations, {bodies} with a body")
sys.exit(1 if wrong or bodies < 8 else 0)
PYTHON
same "what is there" "$(sql "SELECT (SELECT count(*) FROM audit), (SELECT count(*) FROM fact_thing), (SELECT count(*) FROM ingest), (SELECT count(*) FROM control)")" "$before"
ok "$(cat "$TMPDIR/asked")"

stop_host
finish
