# What scripts share that run the host on an app. Sourced, from the root of the repository:
#
#   . tests/host.sh "$@"     a test run by hand gets its cluster here; --long sets $long to yes
#
# ACCRETE is the program, TMPDIR an empty folder, every app has a schema of its own in the cluster of the run.
set -euo pipefail

if [ -z "${ACCRETE_TEST_URL-}" ] && [ -z "${own_cluster-}" ]; then
    exec tests/cluster "$0" "$@"
fi
ACCRETE=${ACCRETE:-$PWD/build/release/accrete}
if [ -z "${TMPDIR-}" ] || [ "$TMPDIR" = /tmp ]; then
    TMPDIR=$(mktemp -d /tmp/accrete-test.XXXXXX)
    trap 'stop_hosts; rm -rf "$TMPDIR"' EXIT
else
    trap stop_hosts EXIT
fi
export TMPDIR
chmod o+x "$TMPDIR" # a private cluster of root runs as another user

long=no
[ "${1-}" != --long ] || long=yes
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768)) # bash draws from it; the same seed, the same run
passed=0
name=-
app=
hosts=()

fail()
{
    if [ -n "${app-}" ] && [ -s "$app/host.log" ]; then
        tail -n 20 "$app/host.log" | cut -c1-240 >&2
    fi
    echo "FAIL $name: $* (SEED=$seed)" >&2
    exit 1
}

# Begins a test: its name is a sentence.
check()
{
    name=$1
}

# Ends it.
ok()
{
    passed=$((passed + 1))
    echo "ok $name${1+ ($1)}"
    name=-
}

same() # WHAT GOT WANTED
{
    [ "$2" = "$3" ] || fail "$1: wanted $3, got $2"
}

# Waits until a command succeeds; 30 seconds, or $deadline_s.
until_true()
{
    local deadline=$((SECONDS + ${deadline_s:-30}))

    until "$@"; do
        [ $SECONDS -lt $deadline ] || fail "did not come true: $*"
        sleep 0.02
    done
}

bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)

# A new app with its own schema and data directory, a copy of folder $1 if given. Sets app, schema.
apps=0
new_app()
{
    apps=$((apps + 1))
    schema=t$$_$apps
    app=$TMPDIR/app$apps
    mkdir -p "$app/kinds" "$app/lifecycles" "$app/data" "$app/run"
    [ $# = 0 ] || cp -r "$1/." "$app/"
    [ -e "$app/accrete.yaml" ] || : >"$app/accrete.yaml"
    settings=(--set "data.dir=$app/data" --set "data.run_dir=$app/run")
    [ -n "${own_cluster-}" ] || settings+=(--set "database.url=$ACCRETE_TEST_URL" --set "database.schema=$schema")
}

# accrete SUBCOMMAND ARGUMENTS on the app.
acc()
{
    local command=$1

    shift
    "$ACCRETE" "$command" --app "$app" "${settings[@]}" "$@"
}

ingest() # KIND < NDJSON
{
    acc ingest --quiet "$1" -
}

# Runs to the fixpoint; wants exit code 0, or $2 with a first argument -x.
fixpoint()
{
    local wanted=0 code=0

    if [ "${1-}" = -x ]; then
        wanted=$2
        shift 2
    fi
    timeout "${deadline_s:-120}" "$ACCRETE" run --quiet --until-fixpoint --app "$app" "${settings[@]}" "$@" \
        >>"$app/host.log" 2>&1 || code=$?
    same "exit code of run" $code "$wanted"
}

# Starts a host in the background and waits until it runs; host is its pid.
start_host()
{
    local before

    touch "$app/host.log"
    before=$(runs)
    "$ACCRETE" run --quiet --app "$app" "${settings[@]}" "$@" >>"$app/host.log" 2>&1 &
    host=$!
    hosts+=("$host")
    until_true runs_more "$before"
}

runs()
{
    grep -c event=running "$app/host.log" || true
}

runs_more()
{
    kill -0 "$host" 2>/dev/null || fail "the host ended"
    [ "$(runs)" != "$1" ]
}

stop_host()
{
    kill -TERM "$host" 2>/dev/null || true
    wait "$host" || fail "the host ended with $?"
}

stop_hosts()
{
    local pid

    for pid in "${hosts[@]}"; do
        ! kill -KILL "$pid" 2>/dev/null || wait "$pid" 2>/dev/null || true
    done
    hosts=()
}

sql()
{
    "$bin/psql" -XAtq -d "${url:-$ACCRETE_TEST_URL}" -v ON_ERROR_STOP=1 -c "SET search_path = ${url_schema:-$schema}" -c "$1"
}

status() # JQ-LIKE PATH in Lua: status.queue.dead
{
    acc status --json | luajit -e "
        package.path = 'tests/?.lua;' .. package.path
        local status = require('json')(io.read('*a'))
        print($1)"
}

dump()
{
    acc dump --quiet
}

checksum()
{
    acc dump --quiet | sha256sum | cut -c1-16
}

# Prints how many tests passed; the last line of a script.
finish()
{
    echo "$passed passed (SEED=$seed)"
}
