#!/bin/bash
# The bulk loader: packed files, patterns, columns by other names, a look without writing, refused lines, and a kill in the middle.
. tests/host.sh "$@"

edge_app() # an app with one kind and no lifecycle
{
    new_app
    echo 'return { fields = { { "from", "int8" }, { "to", "int8" } }, nullable = { { "note", "text" } } }' >"$app/kinds/edge.lua"
}

edges() # FIRST LAST: a CSV with header
{
    echo from,to
    seq "$1" "$2" | sed 's/.*/&,7/'
}

number() # FIELD: of the summary in $app/summary
{
    sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$app/summary"
}

load() # ARGUMENTS: ingest with its summary kept; wants exit code 0, or $2 after a first -x
{
    local wanted=0 code=0

    if [ "$1" = -x ]; then
        wanted=$2
        shift 2
    fi
    acc ingest --json "$@" >"$app/summary" 2>"$app/said" || code=$?
    [ "$code" = "$wanted" ] || { cat "$app/said" >&2 && fail "ingest $*: exit code $code, wanted $wanted"; }
}

check "packed files are unpacked by what they are, not by their names"
edge_app
edges 1 3000 | gzip >"$app/a.csv.gz"
{ edges 3001 4000 | gzip && edges 4001 5000 | tail -n +2 | gzip; } >"$app/b"
edges 5001 6000 | zstd -q >"$app/c.csv.zst"
seq 6001 7000 | sed 's/.*/{"kind":"edge","from":&,"to":7}/' | zstd -q | load -
same new "$(number new)" 1000
load edge "$app"/a.csv.gz "$app/b" "$app/c.csv.zst"
same new "$(number new)" 6000
same facts "$(acc count edge)" 7000
ok

check "a packed file that is cut is told, what came before the cut is loaded"
edge_app
edges 1 50000 | gzip >"$app/whole.gz"
head -c 60000 "$app/whole.gz" >"$app/cut.gz"
load -x 1 edge --format csv "$app/cut.gz"
grep -q 'cut.gz: the packed data is cut' "$app/said" || fail "$(cat "$app/said")"
same failed "$(number files_failed)" 1
[ "$(number new)" -gt 1000 ] || fail "only $(number new) facts"
ok

check "a pattern in quotes is expanded, one without a match is an error"
edge_app
edges 1 10 >"$app/x1.csv"
edges 11 20 >"$app/x2.csv"
load edge "$app/x[0-9].csv"
same new "$(number new)" 20
load -x 1 edge "$app/y*.csv"
grep -q 'no file matches' "$app/said" || fail "$(cat "$app/said")"
ok

check "columns are mapped to fields and left out"
edge_app
printf 'Start,Remark,to\n1,x,2\n3,"y,z",4\n' >"$app/map.csv"
load edge "$app/map.csv" --map Start=from --map Remark=note
same dump "$(dump | grep -c '"note":"y,z"')" 1
load -x 1 edge "$app/map.csv" --map Start=from
grep -q 'header: column 2: kind "edge" has no field' "$app/said" || fail "$(cat "$app/said")"
load -x 2 edge "$app/map.csv" --map Start=form
load -x 1 edge "$app/map.csv" --map Start=from --map Remark= --map Missing=note
grep -q 'there is no column' "$app/said" || fail "$(cat "$app/said")"
ok

check "lines that are refused are named and kept, can be mended and loaded"
edge_app
printf 'from,to,note\n1,2,a\n3,x,b\n5,6,"c\nd"\n7,8,"e\nf",9\n1,2,z\n' >"$app/bad.csv"
load -x 1 edge "$app/bad.csv"
same new "$(number new)" 2
same refused "$(number refused)" 3
same contradictions "$(number contradictions)" 1
grep -q 'bad.csv:3: field "to": wanted int8' "$app/said" || fail "$(cat "$app/said")"
grep -q 'bad.csv:6: wanted 3 values' "$app/said" || fail "$(cat "$app/said")"
grep -q 'bad.csv:8: contradicts the edge' "$app/said" || fail "$(cat "$app/said")"
printf 'from,to,note\n3,x,b\n7,8,"e\nf",9\n1,2,z\n' | cmp - "$app/bad.csv.rejected" || fail "$(cat "$app/bad.csv.rejected")"
sed -e s/x/4/ -e 's/,9$//' -e /z/d "$app/bad.csv.rejected" >"$app/mended.csv"
load edge "$app/mended.csv"
same new "$(number new)" 2
printf '{"from":1}\n{"from":9,"to":9}\nnot json\n' | load -x 1 edge --rejected "$app/kept" -
printf '{"from":1}\nnot json\n' | cmp - "$app/kept" || fail "$(cat "$app/kept")"
load -x 1 edge --rejected "$app/mended.csv" "$app/mended.csv"
same "lines of the file that is read" "$(wc -l <"$app/mended.csv")" 4
ok

check "a check writes nothing, without a database and with one"
edge_app
{ edges 1 1000 && edges 1 500 | tail -n +2 && echo 1,x; } >"$app/check.csv"
settings_before=("${settings[@]}")
settings=(--set "data.dir=$app/none" --set "data.run_dir=$app/run")
load -x 1 --check edge "$app/check.csv"
same new "$(number new)" 1000
same repeats "$(number repeats)" 500
same refused "$(number refused)" 1
grep -q '"database":false' "$app/summary" || fail "$(cat "$app/summary")"
settings=("${settings_before[@]}")
load edge <(edges 1 300)
load -x 1 --check edge "$app/check.csv"
same new "$(number new)" 700
same repeats "$(number repeats)" 800
same facts "$(acc count edge)" 300
[ ! -e "$app/check.csv.rejected" ] || fail "a check has kept lines"
ok

check "each file has a record of what became of it"
edge_app
edges 1 2500 >"$app/a.csv"
{ edges 2001 2600 && echo x,7 && echo 1,7,8; } >"$app/b.csv"
printf 'to,form\n1,2\n' >"$app/c.csv"
: >"$app/d.ndjson"
load -x 1 edge "$app/a.csv" "$app/b.csv" "$app/c.csv" "$app/d.ndjson" --set ingest.batch_lines=100
same records "$(sql "SELECT string_agg(concat_ws(' ', regexp_replace(name, '.*/', ''), format, kind, lines, new, repeats, refused), ', ' ORDER BY name) FROM ingest")" \
    "a.csv csv edge 2500 2500 0 0, b.csv csv edge 602 100 500 2, c.csv csv edge 0 0 0 0, d.ndjson ndjson edge 0 0 0 0"
same errors "$(sql "SELECT errors->0->>'line', errors->0->>'field' FROM ingest WHERE name LIKE '%b.csv'")" "602|from"
same "why not" "$(sql "SELECT errors->0->>'message' LIKE '%no field%' FROM ingest WHERE name LIKE '%c.csv'")" t
same who "$(sql "SELECT DISTINCT who LIKE '%@%' FROM ingest")" t
load -x 1 --check edge "$app/b.csv"
same "records after a check" "$(sql "SELECT count(*) FROM ingest")" 4
ok

check "a line that the database refuses is named, the others are loaded"
edge_app
load edge <(edges 0 0) # the tables
sql 'ALTER TABLE fact_edge ADD CONSTRAINT lucky CHECK ("from" <> 1313)'
edges 1 3000 >"$app/lucky.csv"
load -x 1 edge "$app/lucky.csv"
same new "$(number new)" 2999
same refused "$(number refused)" 1
grep -q 'lucky.csv:1314: the database refuses it' "$app/said" || fail "$(cat "$app/said")"
same facts "$(acc count edge)" 3000
ok

check "repeats in any mixture are counted exactly"
edge_app
edges 1 25000 >"$app/first.csv"
load edge "$app/first.csv" --set ingest.batch_lines=1000
same new "$(number new)" 25000
for part in 1/30000 24000/26000 1/26000 26001/60000; do
    edges "${part%/*}" "${part#*/}" >"$app/part.csv"
    before=$(acc count edge)
    load edge "$app/part.csv" --set ingest.batch_lines=1000
    same "new of $part" "$(number new)" $(($(acc count edge) - before))
    same "lines of $part" $(($(number new) + $(number repeats))) "$(number lines)"
done
same facts "$(acc count edge)" 60000
ok

check "a load that is killed goes on where it was"
edge_app
load edge <(edges 0 0) # the tables
edges 1 400000 >"$app/large.csv"
for kill in 1 2 3; do
    "$ACCRETE" ingest --quiet --app "$app" "${settings[@]}" --set ingest.batch_lines=2000 edge "$app/large.csv" &
    loader=$!
    hosts+=("$loader")
    before=$(sql "SELECT count(*) FROM fact_edge")
    more() { [ "$(sql "SELECT count(*) FROM fact_edge")" -gt $((before + 10000)) ] || ! kill -0 "$loader" 2>/dev/null; }
    until_true more
    kill -KILL "$loader" || fail "it was done before it could be killed"
    wait "$loader" 2>/dev/null || true
done
gone() { [ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'accrete'")" = 0 ]; }
until_true gone # the transaction of the last one
before=$(sql "SELECT count(*) FROM fact_edge")
load edge "$app/large.csv"
same new "$(number new)" $((400001 - before))
same repeats "$(number repeats)" $((before - 1))
same facts "$(acc count edge)" 400001
same rows "$(sql "SELECT count(*) FROM fact_edge")" 400001
hosts=()
ok "$((before)) facts before the last"

finish
