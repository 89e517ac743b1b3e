#!/bin/bash
# Fold over HTTP: the scenarios through the interface of the original (examples/fold/routes), books in several orders, posted at
# once or each when all is quiet; with --long in every order.
. tests/host.sh "$@"

luajit tests/fold/http_cases.lua "$TMPDIR/cases"

# The host's address, when it answers there.
serve()
{
    start_host --set http.listen=127.0.0.1:0 "$@"
    address=$(grep -o "http=127.0.0.1:[0-9]*" "$app/host.log" | tail -n 1 | cut -c6-)
    until_true serves
}

serves()
{
    curl -sf -m 5 -o "$TMPDIR/count" "$address/count"
}

get() # PATH: the answer, which must be 200
{
    curl -sS -m 60 --fail-with-body -g "$address$1" || fail "GET $1"
}

is_quiet()
{
    [ "$(get /count)" = 0 ] && [ "$(get /depth)" = 0 ]
}

add() # FILE: posts a book; wants its title
{
    local code

    code=$(curl -sS -m 30 -o "$TMPDIR/title" -w '%{http_code}' "$address/add" --data-binary "@$1") || fail "POST /add"
    same "status of POST /add" "$code: $(cat "$TMPDIR/title")" "200: $(sed 's/.*"title": "\([^"]*\)".*/\1/' "$1")"
}

run_case() # FOLDER once|each
{
    local folder=$1 way=$2 book dims wanted

    mapfile -t wanted <"$folder/case"
    check "${wanted[0]} (${folder##*/}, $way)"
    new_app examples/fold
    serve --set worker.count=2
    for book in "$folder"/*.json; do
        add "$book"
        [ "$way" = once ] || until_true is_quiet
    done
    until_true is_quiet
    if [ "${wanted[1]}" != - ]; then
        same "sentences, pairs, phrases" "$(get /sentences) $(get /pairs) $(get /phrases)" "${wanted[1]}"
    fi
    for dims in ${wanted[2]}; do
        same "orthos of ${dims%=*}" "$(get "/orthos?dims=${dims%=*}")" "${dims#*=}"
    done
    get /dump >"$TMPDIR/dump"
    same "orthos per dims" "$(cut -f1 "$TMPDIR/dump" | LC_ALL=C sort | uniq -c | awk '{ print $2 "=" $1 }' | LC_ALL=C sort | paste -sd' ')" "${wanted[2]}"
    [ "${wanted[3]}" = - ] || same digest "$(sha256sum <"$TMPDIR/dump" | cut -c1-16)" "${wanted[3]}"
    stop_host
    ok
}

turn=$seed
for folder in "$TMPDIR"/cases/*; do
    name=$(head -n 1 "$folder/case")
    turn=$((turn + 1))
    ways=(once each)
    # In the short form: each scenario as it is given, and a tenth of the others.
    if [ $long = yes ] || [[ $name != *,* ]] || [ $((turn % 10)) = 0 ]; then
        run_case "$folder" ${ways[turn % 2]}
    fi
done

check "the original's answers, to the letter"
new_app examples/fold
serve
echo '{"title": "one", "body": "a b c d. a c. b d. a b."}' >"$TMPDIR/1.json"
echo '{"title": "two", "body": "b e. d f. b d. e f. c d f. a b e."}' >"$TMPDIR/2.json"
add "$TMPDIR/1.json"
add "$TMPDIR/2.json"
until_true is_quiet
same "GET /splat?dims=2,1" "$(get "/splat?dims=2,1")" "$(printf 'a b e\nc d f\na c\nb d\ne f')"
same "GET /splat?dims=1,1" "$(get "/splat?dims=1,1" | sort | paste -sd,)" ",a b,a c,b d,b d,b e,c d,d f,e f"
same "dims in any order" "$(get "/orthos?dims=1,%202")" 1
same "no dims" "$(get /orthos)$(get "/orthos?dims=")" 00
same "unknown dims" "$(get "/orthos?dims=9,9")" 0
same "dims that are none" "$(curl -s -o /dev/null -w '%{http_code}' "$address/orthos?dims=x")" 500
get /dump >"$TMPDIR/dump"
acc lua "$app/dump.lua" >"$TMPDIR/own" 2>/dev/null
cmp "$TMPDIR/dump" "$TMPDIR/own" || fail "/dump differs from dump.lua"
ok

check "a title that is taken is refused, and nothing is written"
for body in '{"title": "one", "body": "another text."}' '{"title": "", "body": "x"}' '{"title": "x"}' '[]'; do
    same "status of $body" "$(curl -s -o "$TMPDIR/said" -w '%{http_code}' "$address/add" -d "$body")" 409
    grep -q '"message":"[^"]' "$TMPDIR/said" || fail "no error text for $body"
done
same "status of no JSON" "$(curl -s -o /dev/null -w '%{http_code}' "$address/add" -d "{")" 400
same books "$(sql "SELECT count(*) FROM fact_book")" 2
ok

check "of ten books of one title at once one is taken"
for i in 1 2 3 4 5 6 7 8 9 10; do
    curl -s -o /dev/null -w '%{http_code}\n' "$address/add" -d "{\"title\": \"race\", \"body\": \"text $i\"}" >"$TMPDIR/race.$i" &
    racers[i]=$!
done
wait "${racers[@]}"
same "taken, refused" "$(cat "$TMPDIR"/race.* | sort | uniq -c | awk '{ print $2 "=" $1 }' | paste -sd' ')" "200=1 409=9"
ok

check "of books of one title that come to two processes at once one is taken"
stop_host
new_app examples/fold
serve --set http.routes=2
for title in $(seq 40); do
    for text in 1 2 2 3 4 5 6 7; do
        echo "$title $text"
    done
done >"$TMPDIR/posts"
xargs -P 8 -L 1 sh -c 'echo "$1 $2 $(curl -s -m 30 -o /dev/null -w "%{http_code}" "$0/add" -d "{\"title\": \"t$1\", \"body\": \"text $2\"}")"' "$address" \
    <"$TMPDIR/posts" >"$TMPDIR/said"
same "status of all" "$(cut -d' ' -f3 "$TMPDIR/said" | sort | uniq -c | awk '{ print $2 "=" $1 }' | paste -sd' ')" "200=40 409=280"
same "titles taken once" "$(grep ' 200$' "$TMPDIR/said" | cut -d' ' -f1 | sort -u | wc -l)" 40
same books "$(sql "SELECT count(*), count(DISTINCT title) FROM fact_book")" "40|40"
while read -r title text _; do
    same "the text of $title" "$(sql "SELECT body FROM fact_book WHERE title = 't$title'")" "text $text"
done < <(grep ' 200$' "$TMPDIR/said")
same "processes that were asked" "$(sql "SELECT count(DISTINCT e.pid) > 1 FROM epoch e WHERE e.role = 'ingest' AND EXISTS (SELECT FROM batch b JOIN fact_taken t ON t._batch = b.id WHERE b.id >> 32 = e.id)")" t
ok

check "a title whose book did not come as far is for the same text only"
digest=$(printf 'a text.' | sha256sum | cut -c1-64)
same "status of the title alone" "$(curl -s -o /dev/null -w '%{http_code}' "$address/facts/taken" -H 'content-type: application/json' -d "{\"title\": \"half\", \"digest\": \"$digest\"}")" 200
for wanted in "409 another text." "200 a text." "409 a text."; do
    same "status of ${wanted#* }" "$(curl -s -o /dev/null -w '%{http_code}' "$address/add" -d "{\"title\": \"half\", \"body\": \"${wanted#* }\"}")" "${wanted%% *}"
done
printf 'From a file.' >"$TMPDIR/file.txt"
acc ingest --quiet book "$TMPDIR/file.txt"
title=$(sql "SELECT title FROM fact_book WHERE body = 'From a file.'")
same "status of the title of a file" "$(curl -s -o /dev/null -w '%{http_code}' "$address/add" -d "{\"title\": \"$title\", \"body\": \"x\"}")" 409
ok

check "the dump of several pages is that of one"
acc queue pause --reason "a look at the dump" >/dev/null 2>&1
seq 25000 | sed 's/.*/{"dims":"1,1","axes":"b&:1,c&:1","words":"a& b& c& d&"}/' | acc ingest --quiet ortho -
get /dump >"$TMPDIR/dump"
same lines "$(wc -l <"$TMPDIR/dump")" 25000
acc lua "$app/dump.lua" >"$TMPDIR/own" 2>/dev/null
cmp "$TMPDIR/dump" "$TMPDIR/own" || fail "/dump differs from dump.lua"
ok

check "nothing can be deleted"
before=$(get /dump | sha256sum)
curl -s -o /dev/null -X DELETE "$address/"
same "what is there" "$(get /dump | sha256sum)" "$before"
same "PUT /add" "$(curl -s -o /dev/null -w '%{http_code}' -X PUT "$address/add")" 405
stop_host
ok

finish
