# What scripts share that ask a running host over HTTP. Sourced after tests/host.sh.

# Starts the app's host with HTTP on a free port; base is its address.
start_api()
{
    start_host --set http.listen=127.0.0.1:0 "$@"
    base=http://$(grep -o 'http=[^ ]*' "$app/host.log" | tail -n 1 | cut -d= -f2)
    until_true serves
}

serves()
{
    curl -s -o "$TMPDIR/answer" -m 5 "$base/audit" && [ -s "$TMPDIR/answer" ]
}

# PATH CURL-ARGUMENTS...: asks; the status is in code, the body in $TMPDIR/answer.
get()
{
    local path=$1

    shift
    code=$(curl -s -m "${wait_s:-20}" -o "$TMPDIR/answer" -w '%{http_code}' "$@" "$base$path") || true
}

send() # METHOD PATH JSON CURL-ARGUMENTS...
{
    local method=$1 path=$2 body=$3

    shift 3
    get "$path" -X "$method" -H 'Content-Type: application/json' --data-binary "$body" "$@"
}

# An expression of Lua over the last answer, called a: answer 'a.rows[1].id'.
answer()
{
    luajit -e "
        package.path = 'tests/?.lua;' .. package.path
        local a = require('json')(io.read('*a'))
        print($1)" <"$TMPDIR/answer"
}

wanted() # STATUS: the last request had it
{
    [ "$code" = "$1" ] || fail "wanted status $1, got $code: $(head -c 400 "$TMPDIR/answer")"
}

gives() # LUA-EXPRESSION WANTED
{
    same "$1" "$(answer "$1")" "$2"
}

refused() # STATUS WORDS METHOD PATH JSON: refused with that status, and the message says the words
{
    send "$3" "$4" "$5"
    wanted "$1"
    [[ $(answer a.error.message) == *"$2"* ]] || fail "$3 $4: wanted \"$2\", got: $(cat "$TMPDIR/answer")"
}
