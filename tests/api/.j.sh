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
for header in "Bearer ${read%?}0" "bearer" "Bearer" "Bearer $read $read" "Basic $(printf %s "$read:" | base64 -w0)" "Token $read"; do
    get /status -H "Authorization: $header"
    is_error 401 unauthorized
done
get "/status?token=$read"
is_error 401 unauthorized
ok

