#!/bin/bash
# Facts over HTTP: pages, counts, values, downloads, one fact with causes, effects, events and dry runs, finding; with right and
# wrong input, against what SQL counts.
. tests/host.sh "$@"
. tests/api/api.sh

# A kind with a field of every type, and a lifecycle that squares numbers; broken lifecycles wake on kind `trap` alone, and break
# from 2 on, which no worker ever sees.
new_app
cat >"$app/kinds/thing.lua" <<'END'
return { fields = { { "n", "int8" }, { "word", "text" } },
         nullable = { { "flag", "bool" }, { "ratio", "float8" }, { "raw", "bytes" }, { "doc", "json" }, { "ref", "uuid" },
                      { "list", "int8[]" }, { "words", "text[]" } } }
END
echo 'return { fields = { { "n", "int8" }, { "word", "text" } } }' >"$app/kinds/square.lua"
echo 'return { fields = { { "n", "int8" } } }' | tee "$app/kinds/step.lua" >"$app/kinds/trap.lua"
cat >"$app/lifecycles/thing_squares.lua" <<'END'
local M = { on = "thing", friends = { thing = { { "word" } } }, finds = { "square", "step" }, monotone = true }
function M.abort_early(thing) if thing.n == 13 then return true, "thirteen" end end
function M.load_friends(db, thing) return db.thing:where({ word = thing.word }) end
function M.process_data(thing, things, found)
  if thing.n == 7 then error("seven is refused") end
  for _, other in things:each() do
    if other.n == thing.n - 8 then found.square(other, thing.n * thing.n, thing.word) end
  end
  if thing.n == 1 then found.step(nil, 1) end
end
return M
END
cat >"$app/lifecycles/step_steps.lua" <<'END'
local M = { on = "step", finds = { "step" }, monotone = true }
function M.process_data(step, found) if step.n < 300 then found.step(nil, step.n + 1) end end
return M
END
cat >"$app/lifecycles/trap_loops.lua" <<'END'
local M = { on = "trap", finds = { "step" }, monotone = true }
function M.abort_early(trap) return trap.n < 2 end
function M.process_data(trap, found)
  local x = 0
  while true do x = x + 1 end
end
return M
END
cat >"$app/lifecycles/trap_crashes.lua" <<'END'
local ffi = require("ffi")
local M = { on = "trap", finds = { "step" }, monotone = true }
function M.abort_early(trap) return trap.n < 2 end
function M.process_data(trap, found) ffi.cast("int *", 8)[0] = 1 end
return M
END

# 400 things: words w0 .. w3, NULLs here and there; one with markup and right-to-left text; one that a spreadsheet would run.
luajit -e '
for n = 1, 400 do
  local more = ""
  if n % 2 == 0 then more = more .. (",\"flag\":%s,\"ratio\":%s"):format(n % 4 == 0, n / 8) end
  if n % 3 == 0 then more = more .. (",\"raw\":\"%04x\",\"list\":[%d,%d],\"words\":[\"a\",\"b%d\"]"):format(n, n, -n, n) end
  if n % 5 == 0 then more = more .. (",\"doc\":{\"n\":%d},\"ref\":\"00000000-0000-4000-8000-%012d\""):format(n, n) end
  print(("{\"n\":%d,\"word\":\"w%d\"%s}"):format(n, n % 4, more))
end
print([[{"n":1001,"word":"<script>alert(1)</script> \"q\" \u202eשלום, line\nbreak"}]])
print([[{"n":-5,"word":"=1+1"}]])
print([[{"n":9007199254740993,"word":"\u0009tab"}]])
' >"$TMPDIR/things"
ingest thing <"$TMPDIR/things"
seq 0 1 | sed 's/.*/{"n":&}/' | ingest trap
fixpoint -x 1 # seven is dead
deadline_s=60
start_api
count=$(sql "SELECT count(*) FROM fact_thing")
same "things" "$count" 403

id_of() # KIND CONDITION
{
    sql "SELECT replace(_id::text, '-', '') FROM fact_$1 WHERE $2 ORDER BY _id LIMIT 1"
}

# Ids of all pages of PATH from CURSOR (before, after) on, one a line.
pages() # PATH CURSOR LIMIT [FIRST]
{
    local at=${4-} sign='?'

    [[ $1 != *\?* ]] || sign='&'
    while :; do
        get "$1${sign}limit=$3${at:+&$2=$at}"
        wanted 200
        answer '(function() local t = {} for i, r in ipairs(a.rows) do t[i] = r.id end return table.concat(t, "\n") end)()'
        at=$(answer "a.$2 or ''")
        case $at in '' | nil | null | *json* | userdata*) break ;; esac
    done | sed '/^$/d'
}

check every_page_has_its_rows_once_forwards_and_backwards
all=$(sql "SELECT string_agg(replace(_id::text, '-', ''), E'\n' ORDER BY _id) FROM fact_thing")
for explorer in no yes; do
    [ $explorer = no ] || acc index explorer --quiet
    for order in newest newest~desc id id~desc n n~desc ratio ratio~desc word; do
        pages "/facts/thing?order=$order" before 37 >"$TMPDIR/forward"
        same "ids by $order" "$(sort "$TMPDIR/forward")" "$all"
        last=$(tail -n 1 "$TMPDIR/forward")
        { pages "/facts/thing?order=$order" after 37 "$last" >"$TMPDIR/pages"; } 2>/dev/null
        # Pages backwards come last page first; each in the order shown.
        same "ids by $order, backwards" "$(sort "$TMPDIR/pages")" "$(sort "$TMPDIR/forward" | grep -v "$last")"
    done
done
get "/facts/thing?limit=3" && wanted 200
gives 'a.order' newest
gives '#a.rows' 3
gives 'type(a.took_ms)' number
get "/facts/thing?order=n~desc&limit=2&fields=word,n" && wanted 200
gives 'a.rows[1].fields.word' "$(printf '\ttab')"
gives 'a.rows[2].fields.n' 1001
grep -q '"n":9007199254740993' "$TMPDIR/answer" || fail "a large integer was rounded"
get "/facts/thing?f=n~eq~1000000" && wanted 200
gives '#a.rows' 0
ok

check filters_of_every_type_agree_with_sql
agree() # FILTER... -- SQL-CONDITION
{
    local query=() condition=

    while [ "$1" != -- ]; do
        query+=(--data-urlencode "f=$1")
        shift
    done
    condition=$2
    get /facts/thing/count -G "${query[@]}" && wanted 200
    gives a.exact true
    gives a.count "$(sql "SELECT count(*) FROM fact_thing WHERE $condition")"
    get /facts/thing -G "${query[@]}" -d limit=1000 && wanted 200
    gives '#a.rows' "$(sql "SELECT count(*) FROM fact_thing WHERE $condition")"
    get /facts/thing.csv -G "${query[@]}" && wanted 200
}
agree 'n~ge~100' 'n~lt~200' -- 'n >= 100 AND n < 200'
agree 'word~eq~w1' -- "word = 'w1'"
agree 'word~eq~w1' 'n~gt~300' -- "word = 'w1' AND n > 300"
agree 'word~prefix~w' -- "starts_with(word, 'w')"
agree 'word~contains~<script>' -- "position('<script>' in word) > 0"
agree 'flag~eq~true' -- flag
agree 'flag~null' -- 'flag IS NULL'
agree 'ratio~le~12.5' -- 'ratio <= 12.5'
agree 'raw~eq~0003' -- "raw = '\\x0003'"
agree 'doc~contains~"n":5' -- "position('\"n\":5' in doc) > 0"
agree 'ref~eq~00000000-0000-4000-8000-000000000005' -- "ref = '00000000-0000-4000-8000-000000000005'"
agree 'list~has~-9' -- 'list @> ARRAY[-9::int8]'
agree 'words~has~a' -- "words @> ARRAY['a']"
agree 'n~eq~3' 'word~eq~w3' -- 'n = 3'
agree "word~contains~'; DROP TABLE fact_thing; --" -- false
ok

check counts_are_exact_without_filters_and_bounded_with_them
get /facts/thing/count && wanted 200
same count "$(cat "$TMPDIR/answer")" "{\"count\":$count,\"exact\":true}"
get /facts/square/count && wanted 200
gives a.count "$(sql 'SELECT count(*) FROM fact_square')"
get '/facts/step/count?f=n~gt~100&limit_ms=1' && wanted 200
[ "$(answer a.count)" -le 200 ] || fail "more were counted than there are"
ok

check common_values_are_counted
get '/facts/thing/values?field=word&limit=4' && wanted 200
gives 'a.over' 403
gives '#a.values' 4
gives 'a.values[1].count' 100
get '/facts/thing/values?field=flag' && wanted 200
gives 'a.values[1].count' "$(sql 'SELECT count(*) FROM fact_thing WHERE flag IS NULL')"
get '/facts/thing/values?field=word&f=n~le~10&f=n~ge~1' && wanted 200
gives 'a.over' 10
ok

check downloads_are_what_dump_has
acc dump --quiet | grep '"kind":"thing"' | sort >"$TMPDIR/dump" || true # seven is dead: exit code 1
[ -s "$TMPDIR/dump" ] || fail "nothing was dumped"
get /facts/thing.ndjson -D "$TMPDIR/head" && wanted 200
sort "$TMPDIR/answer" | cmp - "$TMPDIR/dump" || fail "the download differs from the dump"
grep -qi '^content-disposition: attachment; filename="thing.ndjson"' "$TMPDIR/head" || fail "no attachment: $(cat "$TMPDIR/head")"
grep -qi '^content-type: application/x-ndjson' "$TMPDIR/head" || fail "$(cat "$TMPDIR/head")"
get '/facts/thing.ndjson?f=word~eq~w1' && wanted 200
same "lines with an index" "$(wc -l <"$TMPDIR/answer")" 100
get '/facts/thing.ndjson?f=n~gt~390' && wanted 200
same "lines by search" "$(wc -l <"$TMPDIR/answer")" "$(sql 'SELECT count(*) FROM fact_thing WHERE n > 390')"
get '/facts/thing.ndjson?f=n~gt~39000000000000000' && wanted 200
same "lines of nothing" "$(wc -c <"$TMPDIR/answer")" 0
get /facts/thing.csv -D "$TMPDIR/head" && wanted 200
same "head of the CSV" "$(head -n 1 "$TMPDIR/answer")" n,word,flag,ratio,raw,doc,ref,list,words
grep -qxF -- "-5,'=1+1,,,,,,," "$TMPDIR/answer" || fail "a formula is not guarded, or a number is: $(grep -a -- -5, "$TMPDIR/answer")"
grep -qaF -- "'$(printf '\ttab')" "$TMPDIR/answer" || fail "a tab is not guarded"
# What was sent comes back: all but the two guarded texts are repeats.
cp "$TMPDIR/answer" "$TMPDIR/things.csv"
acc ingest --json thing "$TMPDIR/things.csv" >"$TMPDIR/summary" 2>/dev/null || true
grep -q '"repeats": *401' "$TMPDIR/summary" || fail "CSV is not read back: $(cat "$TMPDIR/summary")"
ok

check a_reader_that_goes_away_ends_its_download_and_the_others_are_answered
curl -s -m 5 "$base/facts/thing.ndjson" | head -c 10 >/dev/null || true
get /facts/thing/count && wanted 200
ok

check a_fact_says_all_that_is_known_of_it
thing=$(id_of thing "word LIKE '<script>%'")
get "/facts/thing/$thing" && wanted 200
gives 'a.fields.word' "$(sql "SELECT word FROM fact_thing WHERE n = 1001")"
gives 'a.kind' thing
gives 'table.concat(a.unique_on, " ")' 'n word'
gives 'tostring(a.by)' "$(answer 'tostring(a.data)')" # both null: it was ingested
gives '#a.friends' 0
square=$(id_of square 'n = 144')
get "/facts/square/$square" && wanted 200
gives a.by thing_squares
gives a.data "$(sql "SELECT replace(_data::text, '-', '') FROM fact_square WHERE n = 144")"
gives 'a.friends[1]' "$(sql "SELECT replace(_friends[1]::text, '-', '') FROM fact_square WHERE n = 144")"
gives a.generation 1
gives 'type(a.phases_ms.process_data)' number
gives 'tonumber(a.batch.events) > 0' true
gives 'a.found_at:match("^%d%d%d%d%-%d%d%-%d%dT") ~= nil' true
get "/facts/square/${square:0:12}" && wanted 200
gives a.id "$square"
ok

check a_fact_that_was_posted_names_its_ingest_record
get /facts/step -X POST -H 'Content-Type: application/json' --data-binary '{"n":5000}' && wanted 200
ingest_id=$(sql "SELECT id FROM ingest ORDER BY at DESC LIMIT 1")
get "/facts/step?f=n~eq~5000" && wanted 200
get "/facts/step/$(answer 'a.rows[1].id')" && wanted 200
gives a.ingest "$ingest_id"
ok

check a_fact_of_a_file_names_the_record_of_the_file
seq 6001 6900 | sed 's/.*/{"n":&}/' >"$TMPDIR/steps.ndjson"
seq 7001 7900 | sed 's/.*/{"n":&}/' >"$TMPDIR/more_steps.ndjson"
acc ingest --quiet --set ingest.batch_lines=100 step "$TMPDIR/steps.ndjson"
same "batches of the file" "$(sql "SELECT count(DISTINCT _batch) > 3 FROM fact_step WHERE n BETWEEN 6001 AND 6900")" t
ingest_id=$(sql "SELECT id FROM ingest WHERE name LIKE '%/steps.ndjson'")
for n in 6001 6450 6900; do
    get "/facts/step/$(id_of step "n = $n")" && wanted 200
    gives a.ingest "$ingest_id"
done
sed -i 's/"n":/"n":1/' "$TMPDIR/steps.ndjson"
acc ingest --quiet --set ingest.batch_lines=20000 step "$TMPDIR/steps.ndjson" "$TMPDIR/more_steps.ndjson"
get "/facts/step/$(id_of step 'n = 7450')" && wanted 200
gives a.ingest null # both files may hold it
ok

check causes_and_effects_agree_with_what_is_stored
get "/facts/square/$square/causes" && wanted 200
gives '#a.nodes' 3
gives a.root "$square"
gives a.levels 2
gives a.facts_above 2
gives a.cut false
gives 'a.nodes[1].label' '144 w0'
step=$(id_of step 'n = 250')
get "/facts/step/$step/causes?depth=5" && wanted 200
gives '#a.nodes' 6
gives a.cut true
gives 'a.nodes[6].more' true
get "/facts/step/$step/causes?depth=100" && wanted 200
gives '#a.nodes' 101
four=$(id_of thing 'n = 4')
get "/facts/thing/$four/effects" && wanted 200
gives 'a[1].by' thing_squares
gives 'a[1].as_friend' 1
gives 'a[1].as_data' 0
gives 'a[1].exact' true
get "/facts/thing/$four/effects?by=thing_squares" && wanted 200
gives '#a.rows' 1
gives 'a.rows[1].id' "$square"
gives 'a.rows[1].role' friend
gives 'a.rows[1].kind' square
gives 'a.rows[1].has_effects' false
get "/facts/step/$step/effects?by=step_steps" && wanted 200
gives 'a.rows[1].role' data
gives 'a.rows[1].has_effects' true
get '/facts/thing?f=n~eq~4' && wanted 200
gives 'a.rows[1].effects' 1
ok

check pages_of_very_many_effects_have_each_once
hub=$(id_of thing 'n = 20')
sql "INSERT INTO fact_square SELECT (substr(md5(i::text), 1, 4) || (SELECT to_hex(tag) FROM kind WHERE name = 'square') ||
     substr(md5(i::text), 9, 24))::uuid, i, 'hub', f._batch, CASE WHEN i % 3 = 0 THEN '$hub'::uuid ELSE f._data END,
     ARRAY['$hub'::uuid, f._friends[1]] FROM generate_series(1000000, 1009999) i, fact_square f WHERE f.n = 144" >/dev/null
get "/facts/thing/$hub/effects" && wanted 200
gives 'a[1].as_data' 3334 # one of them the square of 20
gives 'a[1].as_friend' 6668 # and the square of 28
pages "/facts/thing/$hub/effects?by=thing_squares" after 700 >"$TMPDIR/pages"
same "effects, each once" "$(sort -u "$TMPDIR/pages" | wc -l) $(wc -l <"$TMPDIR/pages")" "10002 10002"
get "/facts/thing?f=n~eq~20" && wanted 200
gives 'a.rows[1].effects' 1000 # that many or more
ok

check events_say_where_they_are
get "/facts/thing/$four/events" && wanted 200
gives '#a' 1
gives 'a[1].lifecycle' thing_squares
gives 'a[1].state' done
get "/facts/step/$step/events" && wanted 200
gives 'a[1].outcome' found
gives 'a[1].id' "step_steps:$step"
get "/facts/thing/$(id_of thing 'n = 7')/events" && wanted 200
gives 'a[1].state' dead
gives 'a[1].attempts > 1' true
[[ $(answer 'a[1].reason') == *"seven is refused"* ]] || fail "no reason"
ok

check a_dry_run_tells_outcome_reason_friends_and_finds
get "/facts/thing/$(id_of thing 'n = 13')/dry-run" -X POST && wanted 200
gives 'a.rows[1].outcome' early
gives 'a.rows[1].reason' thirteen
get "/facts/thing/$(id_of thing 'n = 7')/dry-run?lifecycle=thing_squares" -X POST && wanted 200
gives 'a.rows[1].outcome' failed
[[ $(answer 'a.rows[1].error') == *"seven is refused"* ]] || fail "no error"
get "/facts/thing/$hub/dry-run" -X POST && wanted 200
gives 'a.rows[1].outcome' found
gives 'a.rows[1].finds.square.known' 1
gives 'a.rows[1].friends.thing.count' 100
ok

check endless_loops_and_crashes_in_dry_runs_hurt_nobody
send POST /queue/pause '{"reason": "the code is bad"}' && wanted 202
get /facts/trap -X POST -H 'Content-Type: application/json' --data-binary '{"n":2}' && wanted 200
trap_2=$(id_of trap 'n = 2')
get "/facts/trap/$trap_2/events" && wanted 200
gives '#a' 2
gives 'a[1].state' ready # nobody runs it while all is paused
gives 'a[1].place' 1
start=$(date +%s%3N)
curl -s -m 20 -o "$TMPDIR/looped" -X POST "$base/facts/trap/$trap_2/dry-run" &
looping=$!
sleep 0.3
for _ in 1 2 3; do # answered while the loop goes on
    get /facts/thing/count && wanted 200
done
[ $(($(date +%s%3N) - start)) -lt 4000 ] || fail "others waited for the dry run"
wait $looping
cp "$TMPDIR/looped" "$TMPDIR/answer"
gives '#a.rows' 2
gives 'a.rows[1].lifecycle' trap_crashes
gives 'a.rows[1].outcome' failed
[[ $(answer 'a.rows[1].error') == *"signal 11"* ]] || fail "$(cat "$TMPDIR/answer")"
[[ $(answer 'a.rows[2].error') == *"ran longer than 5000 ms"* ]] || fail "$(cat "$TMPDIR/answer")"
get /facts/thing/count && wanted 200
code=0
acc explain --why-not trap_crashes trap "$trap_2" >"$TMPDIR/out" 2>&1 || code=$?
same "exit code of explain" $code 0
grep -q "its process crashed: signal 11" "$TMPDIR/out" || fail "$(cat "$TMPDIR/out")"
ok

check finding_names_facts_kinds_and_lifecycles
get "/find?q=${square:0:10}" && wanted 200
gives 'a[1].href' "/ui/facts/square/$square"
gives 'a[1].label' 'square 144 w0'
get '/find?q=squ' && wanted 200
gives 'a[1].href' /ui/facts/square
gives 'a[2].href' /ui/lifecycles/thing_squares
get '/find?q=zzz' && wanted 200
same "nothing found" "$(cat "$TMPDIR/answer")" '[]'
ok

check wrong_input_is_refused_with_words
no() # STATUS CODE FIELD WORDS PATH CURL-ARGUMENTS...
{
    local status=$1 word=$2 field=$3 words=$4

    shift 4
    get "$@"
    wanted "$status"
    gives a.error.code "$word"
    [ "$field" = - ] || gives 'tostring(a.error.field)' "$field"
    [[ $(answer a.error.message) == *"$words"* ]] || fail "$1: wanted \"$words\", got $(cat "$TMPDIR/answer")"
}
no 404 not_found kind 'did you mean "thing"' /facts/thinh
no 404 not_found kind 'did you mean "thing"' /facts/thnig.csv
no 400 bad_filter f 'did you mean "word"' '/facts/thing?f=wrod~eq~1'
no 400 bad_filter n 'wanted int8' '/facts/thing?f=n~eq~one'
no 400 bad_filter n 'wanted one of' '/facts/thing?f=n~prefix~1'
no 400 bad_filter - 'wanted FIELD~OP~VALUE' '/facts/thing/count?f=n'
no 400 bad_filter - 'wanted FIELD~OP~VALUE' '/facts/thing.ndjson?f=n'
no 400 bad_parameter limit 'wanted 1..1000' '/facts/thing?limit=0'
no 400 bad_parameter limit 'wanted 1..1000' '/facts/thing?limit=1001'
no 400 bad_parameter limit 'wanted 1..1000' '/facts/thing?limit=ten'
no 400 bad_parameter limit_ms 'wanted 1..2000' '/facts/thing/count?limit_ms=9000'
no 400 bad_parameter order 'did you mean' '/facts/thing?order=newset'
no 400 bad_parameter order 'has no order' '/facts/thing?order=list'
no 400 bad_parameter fields 'did you mean "word"' '/facts/thing?fields=n,wrod'
no 400 bad_parameter fields 'no field' '/facts/thing?fields=_id'
no 400 bad_parameter fields 'named twice' '/facts/thing?fields=n,word,n'
get '/facts/thing?fields=_idd' && ! grep -qF 'did you mean \\"_' "$TMPDIR/answer" || fail "what is no field was meant: $(cat "$TMPDIR/answer")"
no 400 bad_parameter limt 'did you mean "limit"' '/facts/thing?limt=5'
no 400 bad_parameter field 'wanted the name' /facts/thing/values
no 400 bad_parameter field 'did you mean "word"' '/facts/thing/values?field=wrod'
no 400 bad_id before 'wanted 4 to 32' '/facts/thing?before=xyz'
no 400 bad_parameter after 'exclude each other' "/facts/thing?before=$four&after=$four"
no 404 not_found before 'no fact' '/facts/thing?before=00000000000000000000000000000000'
no 400 bad_id id 'wanted 4 to 32' /facts/thing/abc
no 400 bad_id id 'wanted 4 to 32' /facts/thing/zzzz
no 404 not_found id 'no fact' /facts/square/00000000000000000000000000000000
no 404 not_found id 'no fact' "/facts/square/$four"
no 400 bad_parameter depth 'wanted 1..100' "/facts/thing/$four/causes?depth=0"
no 422 unknown_lifecycle by 'no lifecycle' "/facts/thing/$four/effects?by=nothing"
no 400 bad_parameter after 'only with by' "/facts/thing/$four/effects?after=$four"
no 400 bad_id after 'nothing that came of' "/facts/thing/$four/effects?by=thing_squares&after=$four"
no 422 unknown_lifecycle lifecycle 'did you mean "thing_squares"' "/facts/thing/$four/dry-run?lifecycle=thing_square" -X POST
no 422 unknown_lifecycle lifecycle 'wakes on kind "thing"' "/facts/thing/$four/dry-run?lifecycle=step_steps" -X POST
no 405 method_not_allowed - 'POST' "/facts/thing/$four/dry-run"
no 400 bad_parameter q 'wanted 1..200' '/find?q='
ok

check digits_that_fit_several_facts_are_answered_with_these
digits=$(sql "SELECT left(_id::text, 4) FROM fact_square WHERE word = 'hub' GROUP BY 1 HAVING count(*) > 1 LIMIT 1")
get "/facts/square/$digits" && wanted 409
gives a.error.code ambiguous
gives '#a.error.candidates >= 2' true
gives 'a.error.candidates[1].id:sub(1, 4)' "$digits"
ok

check "connections that the database has ended meanwhile cost no read an error"
sleepers="FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid() AND state = 'idle'"
sql "SELECT pg_terminate_backend(pid) $sleepers" >/dev/null
sleep 0.5
for _ in 1 2 3 4 5 6 7 8; do
    get /facts/square/count && wanted 200
done
ok

stop_host
finish
