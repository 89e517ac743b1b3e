#!/bin/bash
# Facts over HTTP: every format and refusal, packed bodies, the records of what was sent, and what is known after a kill.
. tests/host.sh "$@"

intake_app() # an app with two kinds, served
{
    new_app
    echo 'return { fields = { { "from", "int8" }, { "to", "int8" } }, nullable = { { "note", "text" } } }' >"$app/kinds/edge.lua"
    echo 'return { fields = { { "title", "text" }, { "body", "text" } } }' >"$app/kinds/book.lua"
    start_host --set http.listen=127.0.0.1:0 "$@"
    address=$(sed -n 's/.* http=\([0-9.:]*\).*/\1/p' "$app/host.log" | tail -n 1)
    until_true curl -sf -m 5 -o "$app/live" "http://$address/live"
}

# post PATH TYPE [CURL OPTIONS] < BODY: sets code, leaves the answer in $app/answer
post()
{
    local path=$1 type=$2

    shift 2
    code=$(curl -s -m 20 -o "$app/answer" -w '%{http_code}' "$@" -H "Content-Type: $type" --data-binary @- "http://$address$path") ||
        fail "POST $path: curl ended with $?"
}

answer() # LUA EXPRESSION over the answer
{
    luajit -e "
        package.path = 'tests/?.lua;' .. package.path
        local answer = require('json')(io.read('*a'))
        print($1)" <"$app/answer"
}

wants() # CODE TEXT: of the last post
{
    [ "$code" = "$1" ] && grep -qF -- "$2" "$app/answer" || fail "wanted $1 with $2, got $code: $(cat "$app/answer")"
}

get() # PATH
{
    curl -s -m 20 -o "$app/answer" "http://$address$1" || fail "GET $1: curl ended with $?"
}

json=application/json
ndjson=application/x-ndjson

check "one fact is new, then a repeat, then a contradiction; a bad one is named"
intake_app
post /facts/edge $json <<<'{"from":1,"to":2}'
wants 200 '"lines":1,"new":1,"repeats":0,"refused":0,"errors":[]'
same id "$(answer 'answer.id')" 86b7bda9b65afd9b93877416b40a8b18
post /facts/edge "$json; charset=utf-8" <<<'{"from":1,"to":2}'
wants 200 '"new":0,"repeats":1'
post /facts/edge $json <<<'{"from":1,"to":2,"note":"x"}'
wants 409 '"code":"contradiction"'
post /facts/edge $json <<<'{"from":1,"to":"x"}'
wants 422 '"field":"to"'
post /facts/edge $json <<<'{"from":1'
wants 400 '"code":"bad_json"'
post /facts/egde $json <<<'{"from":1,"to":2}'
wants 404 'did you mean \"edge\"'
same facts "$(acc count edge)" 1
ok

check "bodies of every type are taken, others are refused"
post /facts/edge $json < <(printf '[{"from":2,"to":1},{"from":2}]')
wants 200 '"errors":[{"line":2,"field":"to"'
post /facts/edge $ndjson < <(printf '{"from":2,"to":1}\n{"from":2,"to":2}\n')
wants 200 '"lines":2,"new":1,"repeats":1'
post '/facts/edge?name=e.csv&part=2&parts=3' text/csv -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' < <(printf 'to,from\n1,3\n2,x\n')
wants 200 '"errors":[{"line":3,"field":"from"'
ingest=$(answer 'answer.ingest')
post '/facts/book?name=tale%20one' text/plain < <(printf 'Once upon a time')
wants 200 '"new":1'
same title "$(sql 'SELECT title FROM fact_book')" "tale one"
post /facts/edge text/plain <<<x
wants 415 'takes no text/plain'
post /facts/edge application/xml <<<x
wants 415 '"code":"bad_content_type"'
post /facts/edge text/csv -H 'Content-Encoding: gzip' < <(printf 'from,to\n1,9\n' | gzip)
wants 200 '"new":1'
post /facts/edge text/csv -H 'Content-Encoding: br' < <(printf 'from,to\n1,9\n')
wants 415 '"code":"bad_content_encoding"'
post /facts/edge text/csv -H 'Content-Encoding: gzip' < <(printf 'from,to\n1,9\n')
wants 400 '"code":"bad_gzip"'
post '/facts/edge?check=1' text/csv < <(printf 'from,to\n1,9\n5,5\n')
wants 200 '{"ingest":null,"lines":2,"new":1,"repeats":1'
post '/facts/edge?part=3&parts=2' $json <<<'{}'
wants 400 '"field":"part"'
same facts "$(acc count edge)" 5
ok

check "what was sent has a record with what was refused"
get "/ingests/$ingest/errors"
same line "$(answer 'answer.rows[1].line')" 3
same record "$(sql "SELECT name, format, kind, lines, new, refused, part, parts, trace <> '', who FROM ingest WHERE id = $ingest")" \
    "e.csv|csv|edge|2|1|1|2|3|t|127.0.0.1"
get "/ingests/7/errors"
grep -q '"code":"not_found"' "$app/answer" || fail "$(cat "$app/answer")"
path="/ingests?limit=2"
: >"$app/ids"
while [ -n "$path" ]; do
    get "$path"
    answer '(function() local t = {} for i, r in ipairs(answer.rows) do t[i] = r.id end return table.concat(t, "\n") end)()' >>"$app/ids"
    path=$(answer 'type(answer.before) == "string" and "/ingests?limit=2&before=" .. answer.before or ""')
done
sed -i '/^$/d' "$app/ids"
sql "SELECT id FROM ingest ORDER BY at DESC, id DESC" | cmp - "$app/ids" || fail "pages: $(cat "$app/ids")"
ok "$(wc -l <"$app/ids") records"

check "every fact of a long body names its record, which tells what is written while it is taken and after it was cut"
stop_host
intake_app --set ingest.batch_lines=100
edges() { seq "$1" "$2" | sed 's/.*/{"from":&,"to":0}/'; }
edges 1 3000 >"$app/body"
sed -i '1500s/.*/{"from":1}/; 2500s/.*/{"from":1,"to":0}/' "$app/body"
post '/facts/edge?name=long.ndjson' $ndjson <"$app/body"
wants 200 '"lines":3000,"new":2998,"repeats":1,"refused":1'
ingest=$(answer 'answer.ingest')
same "batches" "$(sql "SELECT count(*) > 20 FROM batch WHERE ingest = $ingest")" t
for n in 1 700 1501 3000; do
    get "/facts/edge?f=from~eq~$n"
    get "/facts/edge/$(answer 'answer.rows[1].id')"
    same "ingest of $n" "$(answer 'answer.ingest')" "$ingest"
done
edges 100001 250000 >"$app/body"
curl -s -m 60 -o "$app/cut" -w '%{http_code}' -H "Content-Type: $ndjson" --data-binary "@$app/body" "http://$address/facts/edge?name=cut" >"$app/code" &
client=$!
hosts+=($!)
is_taken()
{
    get "/ingests?limit=1"
    [ "$(answer 'answer.rows[1].name')" = cut ] && [ "$(answer 'answer.rows[1].new > 500')" = true ]
}
until_true is_taken
same state "$(answer 'answer.rows[1].state')" taken
sql "SELECT pg_terminate_backend(backend_pid) FROM epoch WHERE role = 'ingest' ORDER BY id DESC LIMIT 1" >"$app/killed"
wait $client
same code "$(cat "$app/code")" 503
grep -q '"code":"database_away"' "$app/cut" || fail "$(cat "$app/cut")"
is_cut() { get "/ingests?limit=1" && [ "$(answer 'answer.rows[1].state')" = cut ]; }
until_true is_cut
written=$(sql "SELECT count(*) FROM fact_edge WHERE \"from\" > 100000")
same new "$(answer 'string.format("%d %d", answer.rows[1].new, answer.rows[1].lines)')" "$written $written"
same "facts that name it" "$(sql "SELECT count(*) FROM fact_edge f JOIN batch b ON b.id = f._batch WHERE b.ingest = $(answer 'answer.rows[1].id')")" "$written"
head -n $((written + 10)) "$app/body" >"$app/again"
until_true curl -sf -m 5 -o "$app/ready" "http://$address/ready"
again() { post '/facts/edge?name=again' $ndjson <"$app/again"; [ "$code" = 200 ]; }
until_true again
wants 200 "\"lines\":$((written + 10)),\"new\":10,\"repeats\":$written"
ok "$written of 150000 were written"

check "a body that unpacks to more than it may is refused"
stop_host
intake_app --set http.unpacked=64KiB
post /facts/edge $ndjson -H 'Content-Encoding: gzip' < <(head -c 10000000 /dev/zero | tr '\0' ' ' | gzip)
wants 413 '"code":"too_large"'
ok

check "facts that were acknowledged are there after backends were killed, and it goes on by itself"
client() # NUMBER: posts until told to stop; acknowledged facts go to $app/ack.NUMBER
{
    local n=0 code

    while [ ! -e "$app/stop" ]; do
        n=$((n + 1))
        code=$(curl -s -m 20 -o /dev/null -w '%{http_code}' -H "Content-Type: $json" -d "{\"from\":$1,\"to\":$n}" "http://$address/facts/edge") || code=000
        case $code in
        200) echo "$1|$n" >>"$app/ack.$1" ;;
        503) : ;;
        *) echo "$code" >>"$app/strange" ;;
        esac
    done
}
clients=()
for c in 1 2 3 4; do
    : >"$app/ack.$c"
    client $c &
    clients+=($!)
    hosts+=($!)
done
for _ in 1 2 3 4 5; do
    before=$(cat "$app"/ack.* | wc -l)
    more() { [ "$(cat "$app"/ack.* | wc -l)" -gt $((before + 20)) ]; }
    until_true more
    sql "SELECT pg_terminate_backend(backend_pid) FROM epoch WHERE role = 'ingest' ORDER BY id DESC LIMIT 1" >"$app/killed"
done
before=$(cat "$app"/ack.* | wc -l)
until_true more
touch "$app/stop"
wait "${clients[@]}"
[ ! -e "$app/strange" ] || fail "answers: $(sort "$app/strange" | uniq -c)"
sql 'SELECT "from", "to" FROM fact_edge' | sort >"$app/there"
missing=$(cat "$app"/ack.* | sort | comm -23 - "$app/there" | wc -l)
same "acknowledged facts that are missing" "$missing" 0
ok "$(cat "$app"/ack.* | wc -l) acknowledged"
stop_host

finish
