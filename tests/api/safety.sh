#!/bin/bash
# Who may do what over HTTP, and what a client cannot do to the host: addresses, tokens, browsers, headers, limits, back pressure, TLS,
# logs, memory.
. tests/host.sh "$@"
. tests/api/api.sh

safe_app()
{
    new_app
    mkdir "$app/routes"
    echo 'return { fields = { { "n", "int8" }, { "word", "text" } } }' >"$app/kinds/thing.lua"
    echo 'return { fields = { { "text", "text" } } }' >"$app/kinds/note.lua"
    cat >"$app/routes/app.lua" <<'END'
local http = require("accrete.http")
http.get("/hello", function(req) return { who = req.who, authorization = req.headers.authorization, role = req.headers["x-accrete-role"] } end)
http.post("/put", function(req, db) return { fact = db.note:insert(req:json()) } end)
http.get("/broken", function() error("a secret of the code") end)
END
}

address_of_host()
{
    grep -o 'http=[^ ]*' "$app/host.log" | tail -n 1 | cut -d= -f2
}

serves_all()
{
    get /hello "$@" && [ "$code" = 200 ] && get /audit "$@" && [ "$code" = 200 ] && get /status "$@" && [ "$code" = 200 ]
}

# Starts the host anew; base is where it is reached from here.
serve() # OPTIONS... [-- CURL-ARGUMENTS...]
{
    local options=()

    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    [ $# = 0 ] || shift
    start_host --set http.listen=127.0.0.1:0 "${options[@]}"
    base=http://127.0.0.1:$(address_of_host | sed 's/.*://')
    until_true serves_all "$@"
}

# POST of a fact as JSON.
post() # JSON CURL-ARGUMENTS...
{
    local body=$1

    shift
    get /facts/thing -H 'Content-Type: application/json' --data-binary "$body" "$@"
}

is_error() # STATUS CODE: the last answer, whole in shape
{
    wanted "$1"
    gives a.error.code "$2"
    gives '#a.error.request' 16
    gives 'a.error.message:sub(-1) ~= "." and #a.error.message > 0' true
}

front_figure() # FIELD of /proc/PID/status
{
    sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$(front)/status"
}

front()
{
    status "(function() for _, s in ipairs(status.services) do if s.role == 'front' and s.ready then return s.pid end end end)()"
}

check "without a setting it listens at a loopback address, first port 7171"
safe_app
start_host
[[ $(address_of_host) =~ ^127\.0\.0\.1:[0-9]+$ ]] || fail "it listens at $(address_of_host)"
port=$(address_of_host | sed 's/.*://')
same "sockets of it beyond loopback" "$(ss -ltnH "sport = :$port" | awk '{ print $4 }' | grep -cv '^127\.0\.0\.1:')" 0
stop_host
ok "$port"

check "another address wants a token or http.open"
for address in 0.0.0.0:0 '[::]:0'; do
    code=0
    timeout 20 "$ACCRETE" run --quiet --app "$app" "${settings[@]}" --set "http.listen=$address" >"$TMPDIR/said" 2>&1 || code=$?
    same "exit code" $code 1
    grep -q "http.listen: ${address//[/\\[} can be reached from other machines: make a token first" "$TMPDIR/said" || fail "$(cat "$TMPDIR/said")"
done
serve --set http.listen=0.0.0.0:0 --set http.open=yes
post '{"n":1,"word":"open"}'
wanted 200
get /status -H 'Host: accrete.example.org'
wanted 200
stop_host
ok

check "each role may do what it says, and no more"
for role in read ingest admin; do
    declare "$role=$(acc token new "the-$role" --role $role --reason test 2>/dev/null)"
done
as_read=(-H "Authorization: Bearer $read")
as_ingest=(-H "Authorization: Bearer $ingest")
as_admin=(-H "Authorization: Bearer $admin")
serve --set http.listen=0.0.0.0:0 --set http.access_log=log --log debug -- "${as_read[@]}"
reason='{"reason":"test"}'
retry='{"ids":["thing:00000000000000000000000000000000"],"reason":"test"}'
for path in /status /audit /kinds /metrics /openapi.json /facts/thing "/series?name=queue_depth" /hello /stream; do
    get "$path"
    is_error 401 unauthorized
    same "authenticate" "$(curl -s -o /dev/null -D - "$base$path" | grep -i '^www-authenticate')" "$(printf 'www-authenticate: Bearer\r')"
    [ "$path" = /stream ] || { get "$path" "${as_read[@]}" && [ "$code" != 401 ]; } || fail "$path: $code with a token"
done
for path in /live /ready; do
    get "$path"
    wanted 200
done
may() # STATUS TOKEN-NAME METHOD PATH JSON
{
    local -n token=as_$2

    send "$3" "$4" "$5" "${token[@]}"
    [ "$code" = "$1" ] || fail "$2: $3 $4: wanted $1, got $code: $(head -c 300 "$TMPDIR/answer")"
}
may 403 read POST /facts/thing '{"n":2,"word":"read"}'
is_error 403 forbidden
may 403 read POST /put '{"text":"by read"}'
may 403 read POST /queue/pause "$reason"
may 403 read POST /events/retry "$retry"
may 200 ingest POST /facts/thing '{"n":3,"word":"ingest"}'
may 200 ingest POST /put '{"text":"by ingest"}'
may 200 ingest GET /status ''
for path in /events/retry /events/discard; do
    may 403 ingest POST $path "$retry"
done
for path in /queue/pause /queue/resume /reload; do
    may 403 ingest POST $path "$reason"
done
may 403 ingest PUT /lifecycles/none/throttle '{"per_s":1,"reason":"test"}'
may 202 admin POST /queue/pause "$reason"
may 202 admin POST /queue/resume "$reason"
same "facts that came in" "$(sql "SELECT string_agg(word, ' ' ORDER BY n) FROM fact_thing") $(sql "SELECT text FROM fact_note")" "open ingest by ingest"
# The client's word does not count: who and role come from the token, and no handler sees the token.
get /hello "${as_read[@]}" -H 'X-Accrete-Role: admin' -H 'X-Accrete-Who: somebody' -H 'X-Accrete-Peer: 1.2.3.4'
gives a.who the-read
gives 'tostring(a.authorization)' nil
gives a.role read
for header in "Bearer ${read%?}x" "bearer" "Bearer" "Bearer $read $read" "Basic $(printf %s "$read:" | base64 -w0)" "Token $read"; do
    get /status -H "Authorization: $header"
    is_error 401 unauthorized
done
get "/status?token=$read"
is_error 401 unauthorized
ok

check "a revoked token is refused within two seconds"
acc token revoke the-ingest --reason gone >/dev/null
sleep 2 # what is promised
may 401 ingest POST /facts/thing '{"n":4,"word":"revoked"}'
ok

check "no secret stands in a log, a metric or an answer"
get /metrics "${as_admin[@]}" && cp "$TMPDIR/answer" "$TMPDIR/metrics"
get "/audit?limit=1000" "${as_admin[@]}" && cp "$TMPDIR/answer" "$TMPDIR/audit"
stop_host
grep -q 'path="\?/queue/pause"\? status=202 .*who="\?the-admin' "$app/host.log" || fail "the access log does not say who"
for secret in "$read" "$ingest" "$admin"; do
    ! grep -Fq "${secret#acc_}" "$app/host.log" "$TMPDIR/metrics" "$TMPDIR/audit" || fail "a token stands in a log"
    ! grep -Fq "$(printf %s "$secret" | sha256sum | cut -c1-64)" "$app/host.log" "$TMPDIR/metrics" || fail "a hash stands in a log"
done
ok

check "http.readonly refuses every change and nothing else"
serve --set http.readonly=yes
for change in "POST /facts/thing {\"n\":5,\"word\":\"x\"}" "POST /put {\"text\":\"x\"}" "POST /queue/pause $reason" "POST /reload $reason" \
    "POST /events/retry $retry" "POST /events/discard $retry"; do
    read -r method path body <<<"$change"
    send "$method" "$path" "$body"
    is_error 403 read_only
done
get "/facts/thing?limit=1"
wanted 200
id=$(answer 'a.rows[1].id')
get "/facts/thing/$id/dry-run" -X POST
wanted 200
get /status
gives a.readonly true
same "changes" "$(sql "SELECT count(*) FROM fact_thing WHERE n = 5")" 0
stop_host
ok

serve --set http.access_log="$TMPDIR/access.log" --set http.body=1MiB --set http.unpacked=4MiB
port=${base##*:}

check "browsers may change things from the host's own pages only"
number=100
sends() # STATUS HEADER...
{
    local wanted=$1 headers=() header

    shift
    for header in "$@"; do
        headers+=(-H "$header")
    done
    number=$((number + 1))
    post "{\"n\":$number,\"word\":\"browser\"}" "${headers[@]}"
    [ "$code" = "$wanted" ] || fail "$*: wanted $wanted, got $code"
    same "facts after $*" "$(sql "SELECT count(*) FROM fact_thing WHERE n = $number")" $((wanted == 200))
    [ "$wanted" = 200 ] || is_error 403 cross_origin
}
sends 200
sends 200 "Sec-Fetch-Site: same-origin"
sends 200 "Sec-Fetch-Site: none"
sends 403 "Sec-Fetch-Site: same-site"
sends 403 "Sec-Fetch-Site: cross-site"
sends 403 "Sec-Fetch-Site: cross-site" "Origin: http://127.0.0.1:$port"
sends 200 "Origin: http://127.0.0.1:$port"
sends 200 "Origin: HTTP://LOCALHOST:$port" "Host: localhost:$port"
sends 403 "Origin: http://127.0.0.1:1"
sends 403 "Origin: http://evil.example"
sends 403 "Origin: http://127.0.0.1:$port.evil.example"
sends 403 "Origin: null"
get /put -X POST -H 'Content-Type: application/json' -H 'Sec-Fetch-Site: cross-site' --data-binary '{"text":"x"}'
is_error 403 cross_origin
get "/facts/thing?limit=1" -H 'Sec-Fetch-Site: cross-site' # reads: the browser keeps the answer from the page
wanted 200
for type in text/plain application/x-www-form-urlencoded multipart/form-data; do
    get /facts/thing -H "Content-Type: $type" --data-binary '{"n":1}'
    wanted 415
done
ok

check "names that another site's DNS could have led a browser to are refused"
for host_name in "evil.example" "127.0.0.1.evil.example" "localhost.evil.example:$port" "127.evil.example" "10.0.0.1" "[::1].evil.example" "0.0.0.0" "127.0.0.1@evil.example"; do
    get /status -H "Host: $host_name"
    [ "$code" = 400 ] || is_error 403 bad_host
done
for host_name in "localhost" "LOCALHOST:$port" "127.0.0.1" "127.0.0.1:$port" "127.1.2.3:80" "[::1]:$port"; do
    get /status -H "Host: $host_name"
    wanted 200
done
get /hello -H 'Host: evil.example'
is_error 403 bad_host
get /facts/thing -H 'Host: evil.example' -H 'Content-Type: application/json' --data-binary '{"n":6,"word":"x"}'
is_error 403 bad_host
ok

check "every answer has each safety header once"
has_headers() # CURL-ARGUMENTS...
{
    local header

    curl -s -m 10 -o /dev/null -D "$TMPDIR/head" "$@" || true
    for header in content-security-policy x-content-type-options referrer-policy cross-origin-opener-policy cross-origin-resource-policy x-request-id; do
        same "$header of $*" "$(grep -ic "^$header: " "$TMPDIR/head")" 1
    done
    grep -qi "^content-security-policy: default-src 'none';.*frame-ancestors 'none'" "$TMPDIR/head" || fail "$*: $(cat "$TMPDIR/head")"
    ! grep -i '^server:' "$TMPDIR/head" | grep -q '[0-9]' || fail "the server tells its version"
    ! grep -qi '^access-control-\|^set-cookie\|^x-accrete' "$TMPDIR/head" || fail "$*: $(cat "$TMPDIR/head")"
}
for path in /status /audit /facts/thing /facts/thing.csv /facts/thing.ndjson /openapi.json /hello /broken /nothing /facts/nothing "/status?x=1" /metrics /live; do
    has_headers "$base$path"
done
has_headers -I "$base/status"
has_headers -X DELETE "$base/status"
has_headers -H 'Host: evil.example' "$base/status"
has_headers -H 'Content-Type: application/json' --data-binary '{"n":7,"word":"h"}' "$base/facts/thing"
has_headers -H 'Content-Type: application/json' --data-binary '{' "$base/facts/thing"
has_headers -H 'Content-Length: nonsense' --data-binary x "$base/facts/thing"
has_headers -H "X-Long: $(head -c 60000 /dev/zero | tr '\0' x)" "$base/status"
get /broken
is_error 500 route_failed 2>/dev/null || wanted 500
! grep -q 'secret' "$TMPDIR/answer" || fail "an error tells of the code: $(cat "$TMPDIR/answer")"
ok

check "bodies too long, packed too tight or without end are refused"
head -c 1048577 /dev/zero | tr '\0' ' ' >"$TMPDIR/long"
get /facts/thing -H 'Content-Type: application/x-ndjson' --data-binary @"$TMPDIR/long"
is_error 413 body_too_large
gives 'a.error.message:match("longer than 1048576 bytes") ~= nil' true
get /facts/thing -H 'Content-Type: application/x-ndjson' -X POST -T - <"$TMPDIR/long"
is_error 413 body_too_large
gives 'a.error.message:match("longer than 1048576 bytes") ~= nil' true
head -c 1048576 "$TMPDIR/long" >"$TMPDIR/fits"
get /facts/thing -H 'Content-Type: application/x-ndjson' --data-binary @"$TMPDIR/fits"
wanted 200
before=$(front_figure VmHWM)
head -c 900000000 /dev/zero | gzip -9 >"$TMPDIR/bomb" # 900 MB in 0.9 MB
get /facts/thing -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: gzip' --data-binary @"$TMPDIR/bomb"
is_error 413 too_large
[ $(($(front_figure VmHWM) - before)) -lt 20000 ] || fail "the bomb took $(($(front_figure VmHWM) - before)) KiB"
get /facts/thing -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: gzip' --data-binary 'no gzip'
wanted 400
ok "the bomb took $(($(front_figure VmHWM) - before)) KiB"

check "parameters that a path does not have are refused, on every path"
get /openapi.json
wanted 200
answer '(function() local t = {} for path, ways in pairs(a.paths) do for way in pairs(ways) do if #way <= 6 then t[#t + 1] = way:upper() .. " " .. path end end end table.sort(t) return table.concat(t, "\n") end)()' >"$TMPDIR/paths"
[ "$(wc -l <"$TMPDIR/paths")" -gt 30 ] || fail "few paths: $(cat "$TMPDIR/paths")"
while read -r method path; do
    path=$(sed "s/{kind}/thing/; s/{id}/$id/; s/{name}/none/" <<<"$path")
    get "$path?nonsense=1" -X "$method" -H 'Content-Type: application/json' --data-binary '{}'
    is_error 400 bad_parameter
    gives a.error.field nonsense
done <"$TMPDIR/paths"
ok "$(wc -l <"$TMPDIR/paths") paths"

check "what looks like SQL is a value or a name that is not there"
evil=("'; DROP TABLE fact_thing; --" '" OR 1=1 --' "thing'||pg_sleep(5)||'" 'thing; SELECT 1' '$1' '../../etc/passwd' "\\'; --" 'thing" UNION SELECT * FROM token --')
before=$(sql "SELECT count(*) FROM fact_thing")
lines=$(wc -l <"$app/host.log")
for text in "${evil[@]}"; do
    encoded=$(printf %s "$text" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g')
    for path in "/facts/$encoded" "/facts/$encoded/count" "/facts/$encoded.csv" "/facts/$encoded/$id" "/facts/thing/$encoded" "/lifecycles/$encoded" \
        "/lifecycles/$encoded/source" "/events/$encoded" "/ingests/$encoded/errors"; do
        get "$path"
        [[ $code = 40[04] ]] || fail "$path ($text): $code $(cat "$TMPDIR/answer")"
    done
    for query in "/facts/thing?order=$encoded" "/facts/thing?order=n~$encoded" "/facts/thing?fields=$encoded" "/facts/thing?f=$encoded~eq~1" "/facts/thing?f=n~$encoded~1" \
        "/facts/thing?f=n~eq~$encoded" "/facts/thing?limit=$encoded" "/facts/thing?before=$encoded" "/facts/thing/values?field=$encoded" "/facts/thing/count?limit_ms=$encoded" \
        "/audit?before=$encoded" "/ingests?before=$encoded" "/graph?window=$encoded" "/wait?timeout_s=$encoded"; do
        get "$query"
        [ "$code" = 400 ] || fail "$query ($text): $code $(cat "$TMPDIR/answer")"
    done
    for query in "/facts/thing?f=word~eq~$encoded" "/facts/thing?f=word~contains~$encoded" "/find?q=$encoded" "/audit?act=$encoded" "/audit?who=$encoded" "/events?lifecycle=$encoded" "/events?state=$encoded" "/series?name=$encoded" "/events?sig=$encoded"; do
        get "$query"
        [[ $code = 200 || $code = 422 || $code = 400 ]] || fail "$query ($text): $code $(cat "$TMPDIR/answer")"
    done
    get "/facts/$encoded" -X POST -H 'Content-Type: application/json' --data-binary '{"n":1}'
    [[ $code = 40[04] ]] || fail "POST ($text): $code $(cat "$TMPDIR/answer")"
    post "{\"n\":8,\"word\":\"$(sed 's/[\\"]/\\&/g' <<<"$text")\"}"
    wanted 200
done
same "facts" "$(sql "SELECT count(*) FROM fact_thing")" $((before + ${#evil[@]}))
! tail -n "+$((lines + 1))" "$app/host.log" | grep 'level=error' >&2 || fail "something reached the database that should not"
ok

check "the access log names request, trace and status, and the trace is kept with what was sent"
trace=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
get /facts/thing -D "$TMPDIR/head" -H "traceparent: $trace" -H 'Content-Type: application/json' --data-binary '{"n":9,"word":"traced"}'
wanted 200
request=$(sed -n 's/^x-request-id: \([0-9a-f]*\).*/\1/ip' "$TMPDIR/head")
logged()
{
    grep -Eq "^[0-9T:.-]+Z at=front method=POST path=\"?/facts/thing\"? status=200 bytes=[0-9]+ ms=[0-9.]+ peer=127.0.0.1 who=\"?127.0.0.1\"? request=$request trace=$trace\$" "$TMPDIR/access.log"
}
until_true logged
get "/ingests?limit=1"
gives 'a.rows[1].trace' $trace
get /audit -H "traceparent: 00-ffff" -D "$TMPDIR/head"
request=$(sed -n 's/^x-request-id: \([0-9a-f]*\).*/\1/ip' "$TMPDIR/head")
until_true grep -q "request=$request trace=-\$" "$TMPDIR/access.log"
get '/facts/x%22%20status=200%20forged=1'
until_true grep -Fq 'path="/facts/x\" status=200 forged=1" status=404' "$TMPDIR/access.log"
get '/facts/x%0a2026%20forged=2'
is_error 400 bad_path
same "lines that are none" "$(grep -vcE '^20[0-9-]*T[0-9:.]*Z at=front (method|refused)=' "$TMPDIR/access.log")" 0
ok

check "how long requests take is measured by route"
get /metrics
for route in 'POST /facts/{kind}' 'GET /status' 'GET /audit' 'app' 'none'; do
    grep -Fq "accrete_http_request_seconds_count{route=\"$route\"}" "$TMPDIR/answer" || fail "no figure of $route: $(grep http_request_seconds_count "$TMPDIR/answer")"
done
same "series" "$(grep 'accrete_http_request_seconds_count{' "$TMPDIR/answer" | grep -cvE 'route="((GET|POST|PUT) /[^"]*|app|none)"')" 0
stop_host
ok "$(grep -c 'accrete_http_request_seconds_count{' "$TMPDIR/answer") routes"

check "a read that would take long is stopped by its limit, and others are answered meanwhile"
sql "INSERT INTO fact_thing (_id, n, word, _batch)
     SELECT (substr(md5(i::text), 1, 4) || (SELECT lpad(to_hex(tag), 4, '0') FROM kind WHERE name = 'thing') || substr(md5(i::text), 9, 24))::uuid, 1000000 + i, 'w' || i, _batch
     FROM generate_series(1, 400000) i, (SELECT _batch FROM fact_thing LIMIT 1) one" >/dev/null
serve --set http.read_timeout=20ms
began=$(date +%s%N)
get "/facts/thing?f=word~contains~zzz&order=n"
took=$((($(date +%s%N) - began) / 1000000))
is_error 503 too_slow
[ $took -lt 1500 ] || fail "it took $took ms with a limit of 20 ms"
get "/facts/thing/count?f=word~contains~zzz&limit_ms=5"
wanted 200
gives a.exact false
for i in {1..8}; do
    curl -s -o /dev/null "$base/facts/thing?f=word~contains~zz$i&order=n" &
done
get /status -w '%{http_code}'
wanted 200
until_true serves_all
wait $(jobs -p | grep -v "^$host$") || true
stop_host
ok "$took ms"

check "when too many wait, more are refused with the time to come again, and all that was taken is there"
serve --set http.waiting_requests=8 --set http.waiting=300KiB
(
    echo "SET search_path = $schema; BEGIN; LOCK TABLE fact_note IN ACCESS EXCLUSIVE MODE; \\echo locked"
    until [ -e "$TMPDIR/unlock" ]; do sleep 0.05; done
    echo 'COMMIT;'
) | "$bin/psql" -XAtq -d "$ACCRETE_TEST_URL" >"$TMPDIR/lock" &
until_true grep -q locked "$TMPDIR/lock"
for i in {1..30}; do
    curl -s -m 30 -o "$TMPDIR/busy$i" -D "$TMPDIR/busyhead$i" -w '%{http_code}\n' -H 'Content-Type: application/json' --data-binary "{\"text\":\"busy $i\"}" "$base/facts/note" >"$TMPDIR/busycode$i" &
    callers+=($!)
done
refused_some()
{
    [ "$(cat "$TMPDIR"/busycode* | grep -c 429)" -ge 22 ]
}
until_true refused_some
head -c 250000 /dev/zero | tr '\0' x >"$TMPDIR/text"
get /live
wanted 200
touch "$TMPDIR/unlock"
wait "${callers[@]}"
same "what the others got" "$(cat "$TMPDIR"/busycode* | sort | uniq -c | awk '{ print $2 }' | tr '\n' ' ')" "200 429 "
for i in {1..30}; do
    [ "$(cat "$TMPDIR/busycode$i")" = 429 ] || continue
    grep -qi '^retry-after: [1-9]' "$TMPDIR/busyhead$i" || fail "no Retry-After: $(cat "$TMPDIR/busyhead$i")"
    grep -q '"code":"too_many"' "$TMPDIR/busy$i" || fail "$(cat "$TMPDIR/busy$i")"
done
same "facts" "$(sql "SELECT count(*) FROM fact_note WHERE text LIKE 'busy %'")" "$(cat "$TMPDIR"/busycode* | grep -c 200)"
stop_host
ok "$(cat "$TMPDIR"/busycode* | grep -c 200) taken"

check "the memory of the front is bounded under many long bodies"
serve --set http.body=32MiB --set http.bodies=128MiB --set http.waiting=64MiB
luajit -e 'for i = 1, 1500000 do print(("{\"text\":\"%d\"}"):format(1e6 + i)) end' | head -c 33000000 | sed '$d' >"$TMPDIR/body"
before=$(front_figure VmRSS)
callers=()
for i in {1..16}; do
    curl -s -m 120 -o "$TMPDIR/many$i" -w '%{http_code}\n' -H 'Content-Type: application/x-ndjson' -H 'Expect:' --data-binary @"$TMPDIR/body" "$base/facts/note?check=1" >"$TMPDIR/manycode$i" 2>/dev/null &
    callers+=($!)
done
wait "${callers[@]}" || true # one that is refused while it sends may not care to read why
highest=$(front_figure VmHWM)
same "codes" "$(cat "$TMPDIR"/manycode* | sort -u | grep -vE '^(200|503|000)$')" ""
[ "$(cat "$TMPDIR"/manycode* | grep -c 200)" -ge 1 ] || fail "none was taken: $(cat "$TMPDIR"/manycode* | sort | uniq -c)"
[ "$(cat "$TMPDIR"/manycode* | grep -c 503)" -ge 1 ] || fail "none was refused"
[ "$highest" -lt $((before + (128 + 96) * 1024)) ] || fail "$before KiB grew to $highest KiB"
post '{"n":10,"word":"after"}'
wanted 200
ok "$(cat "$TMPDIR"/manycode* | sort | uniq -c | awk '{ printf "%s times %s, ", $1, $2 }') $before KiB, at most $highest KiB"

check "idle connections cost little, and a new client is served beside them"
fds=()
before=$(front_figure VmRSS)
for i in {1..400}; do
    exec {fd}<>"/dev/tcp/127.0.0.1/${base##*:}"
    fds+=("$fd")
    [ $((i % 2)) = 0 ] || printf 'GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n' >&"$fd"
done
get /audit
wanted 200
took=$(curl -s -o /dev/null -w '%{time_total}' "$base/status")
after=$(front_figure VmRSS)
[ $((after - before)) -lt 20000 ] || fail "400 connections took $((after - before)) KiB"
for fd in "${fds[@]}"; do
    exec {fd}>&-
done
stop_host
ok "$((after - before)) KiB for 400, then $took s"

check "TLS: version 1.2 and newer, HTTP/1.1 alone, and new certificates are taken while it runs"
certificate() # NAME
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \
        -keyout "$TMPDIR/key.$1" -out "$TMPDIR/crt.$1" 2>/dev/null
    cp "$TMPDIR/key.$1" "$TMPDIR/tls.key"
    cp "$TMPDIR/crt.$1" "$TMPDIR/tls.crt"
}
certificate one
certificate other
starts_not() # WORDS OPTIONS...
{
    local words=$1 failed=0

    shift
    timeout 20 "$ACCRETE" run --app "$app" "${settings[@]}" --set http.listen=127.0.0.1:0 "$@" >"$TMPDIR/said" 2>&1 || failed=$?
    same "exit code with $*" $failed 1
    grep -qF -- "$words" "$TMPDIR/said" || fail "wanted \"$words\", got: $(cat "$TMPDIR/said")"
}
starts_not "$TMPDIR/none.key: wanted the PEM key of the certificate: No such file" --set "http.certificate=$TMPDIR/crt.one" --set "http.key=$TMPDIR/none.key"
starts_not "$TMPDIR/none.crt: wanted a PEM certificate chain: No such file" --set "http.certificate=$TMPDIR/none.crt" --set "http.key=$TMPDIR/key.one"
starts_not "$TMPDIR/key.other: wanted the PEM key of the certificate: " --set "http.certificate=$TMPDIR/crt.one" --set "http.key=$TMPDIR/key.other"
starts_not "http.certificate and http.key: wanted both or neither" --set "http.certificate=$TMPDIR/crt.one"
starts_not "http.certificate and http.key: wanted both or neither" --set "http.key=$TMPDIR/key.one"
certificate one
start_host --set http.listen=127.0.0.1:0 --set "http.certificate=$TMPDIR/tls.crt" --set "http.key=$TMPDIR/tls.key"
base=https://$(address_of_host)
trusting=(--cacert "$TMPDIR/crt.one")
until_true serves_all "${trusting[@]}"
post '{"n":11,"word":"tls"}' "${trusting[@]}"
wanted 200
get /status
same "without trust" "$code" 000
same "plain HTTP" "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "http://${base#https://}/status")" 000
! curl -s --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 "${trusting[@]}" "$base/status" >/dev/null || fail "TLS 1.1 is spoken"
same "HTTP/2 by ALPN" "$(curl -s --http2 "${trusting[@]}" -o /dev/null -w '%{http_version}' "$base/status")" 1.1
certificate two
new_one()
{
    get /status --cacert "$TMPDIR/crt.two"
    [ "$code" = 200 ]
}
until_true new_one
echo nonsense >"$TMPDIR/tls.crt"
until_true grep -q 'certificate not taken, the old one stays' "$app/host.log"
new_one || fail "a bad certificate took the place of a good one"
certificate three
third_one()
{
    get /status --cacert "$TMPDIR/crt.three"
    [ "$code" = 200 ]
}
until_true third_one
stop_host
! grep -q 'PRIVATE KEY' "$app/host.log" || fail "a key stands in the log"
ok

finish
