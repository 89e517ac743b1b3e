#!/bin/bash
# Tokens: made, shown once, listed, revoked; what each role may do, and that nothing else opens the door.
. tests/host.sh "$@"
. tests/api/api.sh

small_app()
{
    new_app
    echo 'return { fields = { { "n", "int8" } } }' >"$app/kinds/item.lua"
}

exits() # CODE COMMAND...
{
    local wanted=$1 code=0

    shift
    acc "$@" >"$TMPDIR/out" 2>"$TMPDIR/said" || code=$?
    same "exit code of $*" $code "$wanted"
}

as() # TOKEN PATH CURL-ARGUMENTS...
{
    local token=$1 path=$2

    shift 2
    get "$path" -H "Authorization: Bearer $token" "$@"
}

answers() # STATUS TOKEN PATH CURL-ARGUMENTS...
{
    local status=$1

    shift
    as "$@"
    [ "$code" = "$status" ]
}

check "a token is made before the first run, shown once, and only its hash is kept"
small_app
exits 0 token new reader --role read --reason "a dashboard"
read=$(cat "$TMPDIR/out")
[[ $read =~ ^acc_[0-9a-f]{64}$ ]] || fail "the token: $read"
same "the hash" "$(sql "SELECT encode(hash, 'hex') FROM token")" "$(printf %s "$read" | sha256sum | cut -d' ' -f1)"
"$bin/pg_dump" -d "$ACCRETE_TEST_URL" -n "$schema" --no-owner >"$TMPDIR/dump"
! grep -q "${read#acc_}" "$TMPDIR/dump" || fail "the database holds the secret"
exits 0 token new ci --role ingest --json
ingest=$(cut -d'"' -f4 "$TMPDIR/out")
ingest=$(grep -o 'acc_[0-9a-f]*' "$TMPDIR/out")
exits 0 token new boss --role admin
admin=$(cat "$TMPDIR/out")
[ "$read" != "$admin" ] || fail "two tokens are the same"
exits 0 token list
grep -q '^reader  *read  *made 20.* by .*@' "$TMPDIR/out" || fail "the list: $(cat "$TMPDIR/out")"
! grep -q acc_ "$TMPDIR/out" || fail "the list shows secrets"
same "the audit" "$(sql "SELECT string_agg(act || ' ' || what || ': ' || result || ' ' || reason, ', ' ORDER BY id) FROM audit")" \
    "token new reader: read a dashboard, token new ci: ingest , token new boss: admin "
ok

check "a wrong name, role or argument is refused"
exits 1 token new reader --role admin
grep -q "not given again" "$TMPDIR/said" || fail "said: $(cat "$TMPDIR/said")"
exits 1 token new "a b" --role read
exits 1 token new "$(printf 'x%.0s' $(seq 41))" --role read
exits 1 token revoke nobody
for line in "new x" "new x --role king" "new --role read" "new x y --role read" "list x" "revoke" "steal x"; do
    # shellcheck disable=SC2086
    exits 2 token $line
done
same tokens "$(sql "SELECT count(*) FROM token")" 3
ok

check "each role may do what it says, on an address that wants a token"
start_host --set http.listen=0.0.0.0:0
base=http://127.0.0.1:$(grep -o 'http=[^ ]*' "$app/host.log" | tail -n 1 | sed 's/.*://')
until_true answers 200 "$read" /audit
get /audit
wanted 401
get /live
[ "$code" != 401 ] || fail "/live wants a token"
for wrong in "$read"x "${read%?}" "" acc_ "$(printf 'acc_%064d' 0)" "$read $read"; do
    as "$wrong" /audit
    wanted 401
done
get /audit -H "Authorization: Basic $read"
wanted 401
as "$read" /audit
wanted 200
change=(-X POST -H 'Content-Type: application/json' --data-binary '{"reason":"a token"}')
as "$read" /queue/pause "${change[@]}"
wanted 403
as "$ingest" /queue/pause "${change[@]}"
wanted 403
as "$ingest" /audit
wanted 200
as "$admin" /queue/pause "${change[@]}"
wanted 202
as "$admin" "/audit?limit=1"
gives 'a.rows[1].who' boss
gives 'a.rows[1].act' "queue pause"
ok

check "a revoked token is refused within two seconds, a new one is known as soon"
exits 0 token revoke boss --reason "gone"
sleep 2 # what is promised
as "$admin" /audit
wanted 401
exits 0 token new boss2 --role admin
admin=$(cat "$TMPDIR/out")
sleep 2
as "$admin" /queue/resume "${change[@]}"
wanted 202
exits 0 token list
grep -q '^boss .*revoked 20' "$TMPDIR/out" || fail "the list: $(cat "$TMPDIR/out")"
exits 1 token revoke boss
ok

check "nothing says a secret: neither log nor audit"
for secret in "$read" "$ingest" "$admin"; do
    ! grep -q "${secret#acc_}" "$app/host.log" || fail "the log holds a secret"
done
stop_host
ok

finish
