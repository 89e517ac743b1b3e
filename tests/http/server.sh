#!/bin/bash
# The HTTP server (host/http) on raw sockets, by curl and by openssl: what it answers, what it refuses, and what it bears.
# tests/http/http_server.c is the program; no database.
own_cluster=none
. tests/host.sh "$@"
trap '' PIPE # a server that hangs up is not our end

program=${ACCRETE%/accrete}/tests/http_server
is_sanitized=no
! ldd "$program" | grep -q libasan || is_sanitized=yes
[ "$(ulimit -n)" -ge 12000 ] || ulimit -n 12000 2>/dev/null || true

servers=0

# Starts a server. Sets port, or socket; told (its stdin), out (its stdout) and pid.
serve() # OPTION=VALUE...
{
    servers=$((servers + 1))
    out=$TMPDIR/server$servers.out
    : >"$out"
    mkfifo "$TMPDIR/server$servers.in"
    exec {told}<>"$TMPDIR/server$servers.in"
    "$program" "$@" <"$TMPDIR/server$servers.in" >"$out" 2>&1 {told}>&- &
    pid=$!
    hosts+=("$pid")
    until_true grep -q '^listening ' "$out"
    port=$(sed -n 's/^listening .*:\([0-9]*\)$/\1/p' "$out")
    url=http://127.0.0.1:$port
}

# Ends it cleanly: all is answered, nothing is left behind.
end_server()
{
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" || { tail -n 40 "$out" >&2 && fail "the server ended with $?"; }
    exec {told}>&-
    ! grep -Eq 'Sanitizer|runtime error|Assertion' "$out" || { tail -n 40 "$out" >&2 && fail "the server complains"; }
}

make_certificate() # NAME
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -days 2 -keyout "$TMPDIR/key.pem" \
        -out "$TMPDIR/certificate.pem" 2>/dev/null
}

# One of the server's figures.
figure() # NAME
{
    local lines

    lines=$(grep -c ^accepted= "$out" || true)
    echo counts >&"$told"
    until_true more_lines "$lines"
    sed -n "s/^accepted=.*/ & /p" "$out" | tail -n 1 | sed -n "s/.* $1=\([0-9]*\) .*/\1/p"
}

more_lines()
{
    [ "$(grep -c ^accepted= "$out" || true)" -gt "$1" ]
}

is_figure() # NAME VALUE
{
    [ "$(figure "$1")" = "$2" ]
}

is_above() # NAME VALUE
{
    [ "$(figure "$1")" -gt "$2" ]
}

connect() # sets fd
{
    exec {fd}<>"/dev/tcp/127.0.0.1/$port"
}

say() # FD TEXT: %b escapes
{
    printf '%b' "$2" 2>/dev/null >&"$1" || true
}

# Sends TEXT on a new connection and reads to the end. Sets answer, status (of the first answer).
ask() # TEXT
{
    local fd

    connect
    say "$fd" "$1"
    answer=$(timeout 10 cat <&"$fd" 2>/dev/null | tr -d '\0') || fail "no end of the answer to $1"
    eval "exec $fd>&-"
    status=${answer#HTTP/1.1 }
    status=${status%% *}
}

# The headers of every answer, each once, and an id.
has_headers() # ANSWER
{
    local name head=${1%%$'\r\n\r\n'*}

    for name in content-security-policy x-content-type-options referrer-policy cross-origin-opener-policy \
        cross-origin-resource-policy x-request-id server date; do
        same "$name in: $head" "$(grep -ci "^$name: " <<<"$head" || true)" 1
    done
    [[ $head == *"Server: accrete"$'\r'* ]] || fail "wanted Server: accrete in $head"
    [[ $head =~ x-request-id:\ [0-9a-f]{16} ]] || fail "wanted an id in $head"
}

is_error() # STATUS CODE ANSWER
{
    [[ $3 == "HTTP/1.1 $1 "*'{"error":{"code":"'$2'","message":"'*'","request":"'*'"}}' ]] || fail "wanted $1 $2 as JSON, got: $3"
    has_headers "$3"
}

H='Host: a\r\n'
C='Connection: close\r\n'

check "it answers, with the headers of every answer"
serve
for path in / /bytes/100 /stream/100 /query?a=b /known /nothing /empty /late /bytes/0; do
    ask "GET $path HTTP/1.1\r\n$H$C\r\n"
    has_headers "$answer"
done
ask "GET / HTTP/1.1\r\n$H$C\r\n"
[[ $answer == *$'\r\n\r\nhello' ]] || fail "$answer"
[[ $answer == *$'Content-Length: 6\r\n'* ]] || fail "$answer"
same "a large body" "$(curl -s "$url/bytes/5000000" | wc -c)" 5000000
same "a stream" "$(curl -s "$url/stream/5000000" | wc -c)" 5000000
head -c 700000 /dev/urandom >"$TMPDIR/body"
same "a body sent" "$(curl -s --data-binary @"$TMPDIR/body" "$url/echo" | cmp - "$TMPDIR/body" && echo same)" same
same "a body in chunks" "$(curl -s -H 'Transfer-Encoding: chunked' --data-binary @"$TMPDIR/body" "$url/echo" | cmp - "$TMPDIR/body" && echo same)" same
same "a body after 100" "$(curl -s -H 'Expect: 100-continue' --data-binary @"$TMPDIR/body" "$url/echo" | cmp - "$TMPDIR/body" && echo same)" same
ask "POST /echo HTTP/1.1\r\n$H${C}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
[[ $answer == "HTTP/1.1 100 Continue"*"HTTP/1.1 200 OK"*abc ]] || fail "$answer"
ok

check "HEAD sends the head of GET alone"
ask "HEAD /bytes/100 HTTP/1.1\r\n$H$C\r\n"
[[ $answer == *"Content-Length: 100"* && $answer != *xxx* ]] || fail "$answer"
ask "HEAD /stream/100 HTTP/1.1\r\n$H\r\nGET / HTTP/1.1\r\n$H$C\r\n"
[[ $answer != *xxx* && $answer == *hello ]] || fail "$answer"
ok

check "a tag that is known is answered with 304"
ask "GET /known HTTP/1.1\r\n$H${C}If-None-Match: \"x\", W/\"tag1\"\r\n\r\n"
[[ $status == 304 && $answer == *'etag: "tag1"'* && $answer != *content$'\n'* && $answer != *[Cc]ontent-[Ll]ength* ]] || fail "$answer"
ask "GET /known HTTP/1.1\r\n$H${C}If-None-Match: \"tag2\"\r\n\r\n"
[[ $status == 200 && $answer == *'etag: "tag1"'*content ]] || fail "$answer"
ok

check "HTTP/1.0 is closed unless it asks to be kept"
ask "GET / HTTP/1.0\r\n\r\n"
[[ $answer == *"Connection: close"*hello ]] || fail "$answer"
ask "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /stream/10 HTTP/1.0\r\n\r\n"
[[ $answer == *"keep-alive"*hello*"Connection: close"*$'\r\n\r\nxxxxxxxxxx' ]] || fail "$answer"
ok

check "the query is decoded, the path is decoded, methods and paths that are not there are told"
ask "GET /query?f=a%20b+c&f=%c3%a9&x&=1&& HTTP/1.1\r\n$H$C\r\n"
[[ $answer == *'{"pairs":[["f","a b c"],["f","é"],["x",""],["","1"]],"first":"a b c","second":"é"}' ]] || fail "$answer"
ask "GET /%77ho HTTP/1.1\r\n$H$C\r\n"
[[ $answer == *'"path":"/who"'* ]] || fail "$answer"
ask "DELETE /echo HTTP/1.1\r\n$H$C\r\n"
[[ $answer == *"allow: POST"* ]] || fail "$answer"
is_error 405 bad_method "$answer"
ask "GET /no\"where HTTP/1.1\r\n$H$C\r\n"
is_error 404 not_found "$answer"
ok

check "a trace is passed on when it is valid, an id from outside is not taken"
trace=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
ask "GET /who HTTP/1.1\r\n$H${C}traceparent: $trace\r\nX-Request-Id: 0123456789abcdef\r\nX-Accrete-Who: me\r\nX-Accrete-Role: admin\r\n\r\n"
[[ $answer == *"\"trace\":\"$trace\""* && $answer == *'"who":"127.0.0.1","role":0'* && $answer != *0123456789abcdef* ]] || fail "$answer"
for bad in 00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 00-00000000000000000000000000000000-b7ad6b7169203331-01 \
    00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01 ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 $trace-x \
    00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331 "$trace\r\ntraceparent: $trace"; do
    ask "GET /who HTTP/1.1\r\n$H${C}traceparent: $bad\r\n\r\n"
    [[ $answer == *'"trace":""'* ]] || fail "$bad: $answer"
done
ok

check "malformed requests are refused, each with a reason, and the connection ends"
refused=0
while IFS='|' read -r wanted text; do
    [ -n "$wanted" ] || continue
    ask "$text"
    is_error "${wanted%% *}" "${wanted#* }" "$answer"
    [[ $answer == *"Connection: close"* ]] || [[ $wanted == *bad_path || $wanted == *bad_query ]] || fail "$text: $answer"
    refused=$((refused + 1))
done <<END
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n
400 bad_request|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length: 3, 3\r\n\r\nabc
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length: +7\r\n\r\nabcdefg
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length: 7x\r\n\r\nabcdefg
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length: -1\r\n\r\n
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length:\r\n\r\n
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length: 99999999999999999999\r\n\r\n
413 body_too_large|POST /echo HTTP/1.1\r\n${H}Content-Length: 999999999999999999\r\n\r\n
400 bad_request|POST /echo HTTP/1.1\r\n${H}Content-Length : 3\r\n\r\nabc
400 bad_request|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n
400 bad_request|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n
400 bad_request|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: identity\r\n\r\n
400 bad_request|POST /echo HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n
400 bad_request|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\nHost:\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\nHost: a/b\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\nHost: a b\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\nHost: u@a\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}X: a\r\n\tb\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n Host: a\r\n\r\n
400 bad_request|GET / HTTP/1.1\n${H}\r\n
400 bad_request|GET / HTTP/1.1\r\nHost: a\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}\n
400 bad_request|GET / HTTP/1.1\r\n${H}X: a\rb\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}X: a\x00b\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}X: a\x07b\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}X: a\x7fb\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}X\x00: a\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}X Y: a\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}X\xff: a\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}: a\r\n\r\n
400 bad_request|GET / HTTP/1.1\r\n${H}nothing\r\n\r\n
400 bad_request|GET  / HTTP/1.1\r\n${H}\r\n
400 bad_request|GET /  HTTP/1.1\r\n${H}\r\n
400 bad_request|GET / HTTP/1.1 \r\n${H}\r\n
400 bad_request|GET /\r\n${H}\r\n
400 bad_request|GET\r\n\r\n
400 bad_request| GET / HTTP/1.1\r\n${H}\r\n
400 bad_request|\r\n\r\nGET / HTTP/1.1\r\n${H}\r\n
400 bad_request|get / HTTP/1.1\r\n${H}\r\n
400 bad_request|G\x00T / HTTP/1.1\r\n${H}\r\n
400 bad_request|GETGETGETGETGETGET / HTTP/1.1\r\n${H}\r\n
400 bad_request|GET * HTTP/1.1\r\n${H}\r\n
400 bad_request|OPTIONS * HTTP/1.1\r\n${H}\r\n
400 bad_request|CONNECT a:80 HTTP/1.1\r\n${H}\r\n
400 bad_request|GET http://a/ HTTP/1.1\r\n${H}\r\n
400 bad_request|GET /a#b HTTP/1.1\r\n${H}\r\n
400 bad_request|GET /\xc3\xa9 HTTP/1.1\r\n${H}\r\n
400 bad_request|GET /a\tb HTTP/1.1\r\n${H}\r\n
400 bad_request|GET / HTTP/1.1x\r\n${H}\r\n
400 bad_request|GET / HTTP/11\r\n${H}\r\n
400 bad_request|GET / HTTX/1.1\r\n${H}\r\n
400 bad_request|GET / http/1.1\r\n${H}\r\n
505 bad_version|GET / HTTP/2.0\r\n${H}\r\n
505 bad_version|GET / HTTP/1.2\r\n${H}\r\n
400 bad_request|PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n
417 bad_expectation|POST /echo HTTP/1.1\r\n${H}Expect: tea\r\nContent-Length: 3\r\n\r\nabc
400 bad_path|GET /%00 HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a%0ab HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a%7f HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a%2fb HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a% HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a%1 HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a%zz HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a%ff HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /../a HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a/.. HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /./a HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /%2e%2e/a HTTP/1.1\r\n$H$C\r\n
400 bad_path|GET /a/%2E./b HTTP/1.1\r\n$H$C\r\n
400 bad_query|GET /?a=%00 HTTP/1.1\r\n$H$C\r\n
400 bad_query|GET /?a=%zz HTTP/1.1\r\n$H$C\r\n
400 bad_query|GET /?%ff=1 HTTP/1.1\r\n$H$C\r\n
400 bad_query|GET /?a=% HTTP/1.1\r\n$H$C\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\nx\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n-1\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n\r\n3\r\nabc\r\n0\r\n\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\n
400 bad_chunk|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n
413 body_too_large|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n
413 body_too_large|POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n100001\r\n
END
long_name=$(printf 'a%.0s' {1..9000})
ask "GET /$long_name HTTP/1.1\r\n$H\r\n"
is_error 414 target_too_long "$answer"
ask "GET / HTTP/1.1\r\n${H}X: $long_name$long_name$long_name$long_name\r\n\r\n"
is_error 431 head_too_large "$answer"
ask "GET / HTTP/1.1\r\n$H$(printf 'X: a\\r\\n%.0s' {1..100})\r\n"
is_error 431 head_too_large "$answer"
ask "GET / HTTP/1.1\r\n$H$C$(printf 'X: a\\r\\n%.0s' {1..98})\r\n"
same "100 headers" "$status" 200
ask "POST /echo HTTP/1.1\r\n$H${C}Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2 ;x\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
[[ $answer == *$'\r\n\r\nabcde' ]] || fail "$answer"
ask "\r\nGET / HTTP/1.1\r\n$H$C\r\n"
same "a blank line in front" "$status" 200
same "after all of that" "$(curl -s "$url/")" hello
ok "$refused kinds"

check "a request cut at every byte leaves nothing behind"
before=$(figure requests)
text="POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: x\r\n\r\n"
plain=$(printf "%b." "$text") # the dot keeps the line ends
plain=${plain%.}
for ((cut = 1; cut < ${#plain}; cut++)); do
    connect
    printf '%s' "${plain:0:cut}" >&"$fd"
    eval "exec $fd>&-"
done
deadline_s=10 until_true is_figure connections 0
same "requests" "$(figure requests)" "$before"
same "bytes kept" "$(figure body_bytes)" 0
ok "$((${#plain} - 1)) cuts"

check "a request that comes in two pieces, split at every byte, is answered"
for text in "$plain" $'GET /query?a=b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n'; do
    for ((cut = 1; cut < ${#text}; cut++)); do
        connect
        printf '%s' "${text:0:cut}" >&"$fd"
        sleep 0.001
        printf '%s' "${text:cut}" >&"$fd"
        IFS= read -r -t 5 line <&"$fd" || fail "no answer at $cut"
        [[ $line == "HTTP/1.1 200 OK"* ]] || fail "$line at $cut"
        eval "exec $fd>&-"
    done
done
ok

check "pipelined requests are answered in order, whatever they are"
text=$(for i in {1..60}; do
    printf 'GET /query?a=n%d HTTP/1.1\\r\\n%s\\r\\n' "$i" "$H"
    printf 'POST /echo HTTP/1.1\\r\\n%sContent-Length: 5\\r\\n\\r\\nM%04d' "$H" "$i"
    printf 'POST /echo HTTP/1.1\\r\\n%sTransfer-Encoding: chunked\\r\\n\\r\\n5\\r\\nK%04d\\r\\n0\\r\\n\\r\\n' "$H" "$i"
    printf 'GET /late HTTP/1.1\\r\\n%s\\r\\n' "$H"
done)
ask "${text}GET / HTTP/1.1\r\n$H$C\r\n"
same "answers" "$(grep -c '^HTTP/1.1 200 OK' <<<"${answer//HTTP\/1.1/$'\n'HTTP/1.1}")" 241
got=$(grep -o '"n[0-9]*"\|[MK][0-9]\{4\}' <<<"$answer" | tr -d '"' | tr '\n' ' ')
wanted=$(for i in {1..60}; do printf 'n%d M%04d K%04d ' "$i" "$i" "$i"; done)
same order "$got" "$wanted"
ask "GET / HTTP/1.1\r\n$H\r\nGET / HTTP/1.1\r\n$H\r\nGARBAGE\r\n\r\nGET / HTTP/1.1\r\n$H\r\n"
same "answers before garbage" "$(grep -o 'HTTP/1.1 [0-9][0-9]*' <<<"$answer" | tr '\n' ' ')" "HTTP/1.1 200 HTTP/1.1 200 HTTP/1.1 400 "
ok

check "a peer that has closed its side gets its answer"
answer=$(perl -MIO::Socket::INET -e '
    my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0]) or die;
    syswrite $s, "GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"; shutdown $s, 1;
    local $/; print <$s>' "$port")
[[ $answer == "HTTP/1.1 200 OK"*late ]] || fail "$answer"
ok

check "a body as long as it may be is taken, one byte more is refused at once"
head -c 1048576 /dev/zero >"$TMPDIR/full"
same "full" "$(curl -s --data-binary @"$TMPDIR/full" "$url/echo" | wc -c)" 1048576
same "full in chunks" "$(curl -s -H 'Transfer-Encoding: chunked' --data-binary @"$TMPDIR/full" "$url/echo" | wc -c)" 1048576
echo >>"$TMPDIR/full"
for how in 'X: y' 'Transfer-Encoding: chunked' 'Expect: 100-continue'; do
    answer=$(curl -si -H "$how" --data-binary @"$TMPDIR/full" "$url/echo") || fail "$how: no answer"
    is_error 413 body_too_large "${answer#HTTP/1.1 100*$'\r\n\r\n'}"
done
ask "POST /echo HTTP/1.1\r\n${H}Content-Length: 1048577\r\n\r\n"
is_error 413 body_too_large "$answer"
ok

check "events reach every reader, a stalled one is left out, those that go are noticed"
readers=()
for i in {1..60}; do
    connect
    say "$fd" "GET /events HTTP/1.1\r\n$H\r\n"
    readers+=("$fd")
done
deadline_s=10 until_true is_figure streams 60
for reader in "${readers[@]}"; do
    timeout 10 grep -q -m 2 '^data: beat' <&"$reader" || fail "a reader got no event"
    eval "exec $reader>&-"
done
deadline_s=10 until_true is_figure streams 0
same "a stream from another client" "$(timeout 5 curl -sN "$url/events" | grep -m 3 -c '^data: beat')" 3
ok

check "a body that breaks off is seen to be broken"
for how in --http1.1 --http1.0; do
    code=0
    curl -s $how "$url/abort" >"$TMPDIR/cut" || code=$?
    [ $code != 0 ] || fail "$how: it looked whole"
done
ok
same "after all of that" "$(curl -s "$url/")" hello
end_server

check "a stream that pauses behind a slow reader, and one that breaks off with a piece under way, hurt nobody"
serve write=60000
for i in 1 2 3 4 5 6 7 8; do
    connect
    say "$fd" "GET /pauses/$((4000000 + i * 1111)) HTTP/1.1\r\n$H$C\r\n"
    readers[i]=$fd
done
for i in 1 2 3 4 5 6 7 8; do
    fd=${readers[i]}
    [ "$({ head -c 3900000 && sleep 0.05 && cat; } <&"$fd" | tr -dc x | wc -c)" -ge $((4001000 + i * 1111)) ] || fail "the end never came"
done
for count in 10 100000 9000000; do
    code=0
    curl -s -m 20 -o "$TMPDIR/cut" "$url/abort_busy/$count" || code=$?
    [ $code != 0 ] && [ $code != 28 ] || fail "a body of $count that broke off: curl ended with $code"
done
connect # its reader takes nothing, then leaves
say "$fd" "GET /abort_busy/9000000 HTTP/1.1\r\n$H$C\r\n"
deadline_s=10 until_true is_figure streams 1
eval "exec $fd>&-"
deadline_s=20 until_true is_figure connections 0
same "afterwards" "$(curl -s "$url/")" hello
end_server
ok

check "slow heads and bodies end with 408, idle connections in silence"
serve request=400
connect && idle=$fd
ask "GET / HTTP/1.1\r\nHos"
is_error 408 too_slow "$answer"
ask "POST /echo HTTP/1.1\r\n${H}Content-Length: 10\r\n\r\nabc"
is_error 408 too_slow "$answer"
ask "POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5\r\nabc"
is_error 408 too_slow "$answer"
same "an idle one" "$(timeout 5 cat <&"$idle")" ""
connect
for byte in G E T ' ' / ' ' H T T P / 1; do # a byte now and then does not help
    say "$fd" "$byte"
    sleep 0.05
done
answer=$(timeout 5 cat <&"$fd")
is_error 408 too_slow "$answer"
deadline_s=10 until_true is_figure connections 0
end_server
ok

check "readers that take nothing are dropped, slow ones are not"
serve write=400 listen=127.0.0.1:0
connect
say "$fd" "GET /bytes/60000000 HTTP/1.1\r\n$H\r\n"
stalled=$fd
connect
say "$fd" "GET /stream/60000000 HTTP/1.1\r\n$H\r\n"
deadline_s=15 until_true is_figure dropped_writers 2
deadline_s=15 until_true is_figure connections 0
eval "exec $fd>&- $stalled>&-"
same "a slow reader" "$(curl -s --limit-rate 4M "$url/bytes/8000000" | wc -c)" 8000000
connect # readers of events that stall are skipped, the others go on
say "$fd" "GET /events HTTP/1.1\r\n$H\r\n"
same "another reader" "$(timeout 5 curl -sN "$url/events" | grep -m 5 -c '^data: beat')" 5
eval "exec $fd>&-"
end_server
serve write=400 listen=unix:"$TMPDIR/stall.sock"
curl -s --unix-socket "$TMPDIR/stall.sock" http://a/bytes/60000000 2>/dev/null | sleep 5 &
deadline_s=15 until_true is_figure dropped_writers 1
deadline_s=15 until_true is_figure connections 0
end_server
ok

check "connections above the cap wait and are served when one goes"
serve connections=4
held=()
for i in 1 2 3 4; do
    connect
    held+=("$fd")
done
deadline_s=10 until_true is_figure connections 4
connect
say "$fd" "GET / HTTP/1.1\r\n$H$C\r\n"
! read -r -t 0.3 line <&"$fd" || fail "the fifth was served: $line"
same "accepted" "$(figure accepted)" 4
eval "exec ${held[0]}>&-"
IFS= read -r -t 5 line <&"$fd" || fail "the fifth waits for ever"
[[ $line == "HTTP/1.1 200 OK"* ]] || fail "$line"
end_server
ok

check "bodies together are bounded, whoever has room finishes"
serve bodies=4194304 body=1048576
senders=()
head -c 900000 /dev/zero >"$TMPDIR/part"
for i in {1..12}; do
    connect
    say "$fd" "POST /echo HTTP/1.1\r\n$H${C}Content-Length: 1000000\r\n\r\n"
    cat "$TMPDIR/part" >&"$fd" 2>/dev/null || true
    senders+=("$fd")
done
deadline_s=10 until_true is_above refused_bodies 5
bytes=$(figure body_bytes)
[ "$bytes" -le 4194304 ] || fail "$bytes bytes are held"
done_count=0
full_count=0
for sender in "${senders[@]}"; do
    head -c 100000 /dev/zero >&"$sender" 2>/dev/null || true
    line=
    IFS= read -r -t 5 line <&"$sender" || true
    [[ $line != "HTTP/1.1 200 "* ]] || done_count=$((done_count + 1))
    [[ $line != "HTTP/1.1 503 "* ]] || full_count=$((full_count + 1))
    eval "exec $sender>&-"
done
[ $done_count -ge 2 ] || fail "$done_count were taken"
same "taken and refused" $((done_count + full_count)) 12
deadline_s=10 until_true is_figure body_bytes 0
same "afterwards" "$(curl -s --data-binary @"$TMPDIR/part" "$url/echo" | wc -c)" 900000
end_server
ok "$done_count taken, $full_count refused"

check "bodies that fit together are taken together, also when each is a little more than a power of two"
serve bodies=4194304 body=1100000
senders=()
head -c 1090000 /dev/zero >"$TMPDIR/longer"
for i in 1 2 3; do
    connect
    say "$fd" "POST /echo HTTP/1.1\r\n$H${C}Content-Length: 1100000\r\n\r\n"
    cat "$TMPDIR/longer" >&"$fd"
    senders+=("$fd")
done
deadline_s=10 until_true is_above body_bytes 3300000
same "refused" "$(figure refused_bodies)" 0
bytes=$(figure body_bytes)
[ "$bytes" -le 3400000 ] || fail "$bytes bytes are counted for 3300000"
for sender in "${senders[@]}"; do
    head -c 10000 /dev/zero >&"$sender"
    same "echoed" "$(timeout 10 cat <&"$sender" | tail -c 1100000 | tr -d '\0' | wc -c)" 0
done
end_server
ok "$bytes bytes"

check "one at a time: a second connection waits, a stream keeps nobody waiting"
serve one_at_a_time=1
connect
say "$fd" "GET /hang HTTP/1.1\r\n$H\r\n"
hung=$fd
deadline_s=10 until_true is_figure requests 1
connect
say "$fd" "GET / HTTP/1.1\r\n$H$C\r\n"
! read -r -t 0.3 line <&"$fd" || fail "it was served: $line"
same "accepted" "$(figure accepted)" 1
kill -TERM "$pid" # a hung request is answered at the end
IFS= read -r -t 5 line <&"$hung"
[[ $line == "HTTP/1.1 503 "* ]] || fail "$line"
end_server
serve one_at_a_time=1
connect
say "$fd" "GET /events HTTP/1.1\r\n$H\r\n"
deadline_s=10 until_true is_figure streams 1
same "beside a stream" "$(curl -s --max-time 5 "$url/")" hello
connect # one that says nothing keeps others waiting for a moment only
same "beside a silent one" "$(curl -s --max-time 5 "$url/")" hello
end_server
ok

check "a stop answers what is there and closes what is idle"
serve
connect && idle=$fd
connect
say "$fd" "GET /bytes/3000000 HTTP/1.1\r\n$H\r\n"
deadline_s=10 until_true is_figure requests 1
kill -TERM "$pid"
same "what was asked" "$(timeout 10 cat <&"$fd" | tail -c 3000000 | tr -d x | wc -c)" 0
same "the idle one" "$(timeout 5 cat <&"$idle")" ""
end_server
ok

check "a stop lets go at once who has not begun a request, and finishes who has"
serve body=8388608
connect && new=$fd
connect && kept=$fd
say "$kept" "GET / HTTP/1.1\r\n$H\r\n"
IFS= read -r -t 10 line <&"$kept"
connect && half_head=$fd
say "$half_head" "GET / HTTP/1.1\r\n$H"
connect && half_body=$fd
say "$half_body" "POST /echo HTTP/1.1\r\n${H}Content-Length: 6\r\n\r\nabc"
deadline_s=10 until_true is_figure connections 4
sleep 1.2 # longer than a request of theirs may be on its way
echo drain >&"$told"
until_true grep -q '^accepted=.* connections=2 ' "$out"
same "lines of figures" "$(tail -n 1 "$out" | grep -c ' connections=2 ')" 1 # it was so at once
say "$half_head" "\r\n"
say "$half_body" "def"
[[ $(timeout 10 cat <&"$half_head") == *hello* ]] || fail "the rest of a head"
[[ $(timeout 10 cat <&"$half_body") == *abcdef* ]] || fail "the rest of a body"
for fd in "$new" "$kept"; do
    timeout 10 cat <&"$fd" >"$TMPDIR/rest" || fail "it is held"
done
end_server
make_certificate drain.example
serve certificate="$TMPDIR/certificate.pem" key="$TMPDIR/key.pem"
connect
sleep 1.2
echo drain >&"$told"
deadline_s=10 until_true is_figure connections 0
end_server
ok

check "the start is refused when descriptors are few, with the number"
if [ "$(id -u)" = 0 ]; then
    without=(setpriv --bounding-set -sys_resource --inh-caps -sys_resource)
else
    without=()
fi
said=$( (ulimit -Sn 500 && ulimit -Hn 500 && "${without[@]}" "$program" connections=1000 </dev/null 2>&1) || true)
[[ $said == *"wanted 1064 descriptors, the limit is 500"* ]] || fail "$said"
ok

check "the access log has a line a request, refused ones as well"
serve access="$TMPDIR/access.log"
ask "GET /who HTTP/1.1\r\n$H${C}traceparent: $trace\r\n\r\n"
id=$(sed -n 's/^x-request-id: \([0-9a-f]*\).*/\1/p' <<<"$answer")
ask "GET / HTTP/3\r\n\r\n"
until_true grep -q refused= "$TMPDIR/access.log"
grep -Eq "^[-0-9]+T[0-9:.]+Z at=test method=GET path=\"/who\" status=200 bytes=[0-9]+ ms=[0-9.]+ peer=127.0.0.1 who=\"127.0.0.1\" request=$id trace=$trace\$" \
    "$TMPDIR/access.log" || fail "$(cat "$TMPDIR/access.log")"
grep -q 'refused=bad_request status=400 .*peer=127.0.0.1' "$TMPDIR/access.log" || fail "$(cat "$TMPDIR/access.log")"
end_server
ok

check "TLS: 1.2 and newer, HTTP/1.1 alone, certificates read again"
make_certificate first.example
serve certificate="$TMPDIR/certificate.pem" key="$TMPDIR/key.pem" request=1000
url=https://127.0.0.1:$port
same "curl" "$(curl -sk "$url/")" hello
same "a stream" "$(curl -sk "$url/stream/3000000" | wc -c)" 3000000
same "a body" "$(curl -sk --data-binary @"$TMPDIR/part" "$url/echo" | wc -c)" 900000
[[ $(curl -sk "$url/who") == *'"tls":true'* ]] || fail "it is not seen as TLS"
session()
{
    openssl s_client -connect "127.0.0.1:$port" "$@" </dev/null 2>&1 || true
}
[[ $(session -alpn h2,http/1.1) == *"ALPN protocol: http/1.1"* ]] || fail "ALPN"
[[ $(session -alpn h2) != *"ALPN protocol: h2"* ]] || fail "HTTP/2 is on"
[[ $(session -tls1_2) == *"Protocol  : TLSv1.2"* ]] || fail "TLS 1.2"
[[ $(session -tls1_3) == *"TLSv1.3"* ]] || fail "TLS 1.3"
[[ $(session -tls1_1 -cipher ALL:@SECLEVEL=0) != *"BEGIN CERTIFICATE"* ]] || fail "TLS 1.1 is on"
[[ $(session) == *first.example* ]] || fail "the certificate"
make_certificate second.example
echo reload >&"$told"
until_true grep -q '^reload done' "$out"
[[ $(session) == *second.example* ]] || fail "the new certificate"
echo nonsense >"$TMPDIR/key.pem"
echo reload >&"$told"
until_true grep -q '^reload .*key.pem: wanted' "$out"
[[ $(session) == *second.example* ]] || fail "the certificate is lost"
connect # plain bytes, then silence
say "$fd" "GET / HTTP/1.1\r\n$H\r\n"
connect
deadline_s=10 until_true is_figure connections 0
ask '\x16\x03\x01\x02\x00\x01\x00'
printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >"$TMPDIR/two"
answer=$(openssl s_client -quiet -connect "127.0.0.1:$port" <"$TMPDIR/two" 2>/dev/null)
[[ $answer == *hello*late* ]] || fail "early requests: $answer"
end_server
! said=$("$program" certificate="$TMPDIR/certificate.pem" key="$TMPDIR/key.pem" </dev/null 2>&1) || fail "a bad key was taken"
[[ $said == *"key.pem: wanted the PEM key of the certificate"* ]] || fail "$said"
ok

check "requests are forwarded whole, and those behind the front know who asks"
serve listen=unix:"$TMPDIR/back.sock" behind_front=1 body=8388608
back=$pid back_out=$out back_told=$told
serve forward="$TMPDIR/back.sock" limit=600 write=2000 access="$TMPDIR/front.log"
ask "GET /via/who?x=%20 HTTP/1.1\r\n$H${C}X-Test-Who: bob\r\ntraceparent: $trace\r\nX-Accrete-Who: eve\r\nX-Accrete-Role: admin\r\nx-accrete-peer: 9.9.9.9\r\nX-Request-Id: 0123456789abcdef\r\n\r\n"
id=$(sed -n 's/^x-request-id: \([0-9a-f]*\).*/\1/p' <<<"$answer")
[[ $answer == *"{\"who\":\"bob\",\"role\":2,\"peer\":\"127.0.0.1\",\"id\":\"$id\",\"trace\":\"$trace\",\"tls\":false,\"host\":\"a\",\"path\":\"/via/who\"}" ]] || fail "$answer"
has_headers "$answer"
same "a body" "$(curl -s --data-binary @"$TMPDIR/body" "$url/via/echo" | cmp - "$TMPDIR/body" && echo same)" same
same "a long answer" "$(curl -s "$url/via/bytes/20000000" | wc -c)" 20000000
same "a stream" "$(curl -s "$url/via/stream/20000000" | wc -c)" 20000000
same "a stream by HTTP/1.0" "$(curl -s --http1.0 "$url/via/stream/2000000" | wc -c)" 2000000
same "a slow reader" "$(curl -s --limit-rate 8M "$url/via/stream/16000000" | wc -c)" 16000000
ask "HEAD /via/bytes/100 HTTP/1.1\r\n$H\r\nGET /via/nothing HTTP/1.1\r\n$H$C\r\n"
[[ $answer == *"Content-Length: 100"* && $answer != *xxx* && $answer == *'"code":"not_found"'* ]] || fail "$answer"
ask "GET /via/known HTTP/1.1\r\n$H${C}If-None-Match: \"tag1\"\r\n\r\n"
same "a tag" "$status" 304
same "events" "$(timeout 5 curl -sN "$url/via/events" | grep -m 3 -c '^data: beat')" 3
ok

check "a client that takes a forwarded answer slowly does not fill the memory"
before=$(figure rss_kib)
connect
say "$fd" "GET /via/stream/200000000 HTTP/1.1\r\n$H\r\n"
sleep 1
after=$(figure rss_kib)
[ $is_sanitized = yes ] || [ $((after - before)) -lt 8000 ] || fail "$before KiB grew to $after KiB"
eval "exec $fd>&-"
deadline_s=15 until_true is_figure connections 0
ok

check "how long a client may take for an answer is the front's matter"
front=$pid front_out=$out front_told=$told front_port=$port
serve listen=unix:"$TMPDIR/patient.sock" behind_front=1 write=200
patient=$pid patient_out=$out patient_told=$told
serve forward="$TMPDIR/patient.sock" write=30000
connect
say "$fd" "GET /via/stream/20000000 HTTP/1.1\r\n$H$C\r\n"
sleep 1.5 # many times as long as the one behind would wait
[ "$(timeout 20 cat <&"$fd" | tr -dc x | wc -c)" -ge 20000000 ] || fail "the rest never came"
end_server
pid=$patient out=$patient_out told=$patient_told
end_server
pid=$front out=$front_out told=$front_told port=$front_port url=http://127.0.0.1:$front_port
ok

check "who is behind is absent, dies, breaks off or is silent: a JSON error each time"
ask "GET /via/sleep/900 HTTP/1.1\r\n$H$C\r\n"
is_error 504 upstream_silent "$answer"
ask "GET /via/hang HTTP/1.1\r\n$H$C\r\n"
is_error 504 upstream_silent "$answer"
code=0
curl -s "$url/via/abort" >/dev/null || code=$?
[ $code != 0 ] || fail "a broken body looked whole"
curl -s "$url/via/stream/900000000" >"$TMPDIR/half" &
reader=$!
until_true test -s "$TMPDIR/half"
kill -KILL "$back"
code=0
wait "$reader" || code=$?
[ $code != 0 ] || fail "a body looked whole when its process was killed"
wait "$back" 2>/dev/null || true
ask "GET /via/who HTTP/1.1\r\n$H$C\r\n"
is_error 503 upstream_absent "$answer"
[[ $answer == *"retry-after: 1"* ]] || fail "$answer"
exec {back_told}>&-
front=$pid front_out=$out front_told=$told front_port=$port
serve listen=unix:"$TMPDIR/back.sock" behind_front=1
port=$front_port url=http://127.0.0.1:$front_port
ask "GET /via/who HTTP/1.1\r\n$H$C\r\n"
same "when it is back" "$status" 200
ask "GET /via/exit HTTP/1.1\r\n$H$C\r\n"
is_error 502 upstream_broken "$answer"
wait "$pid" || true
exec {told}>&-
pid=$front out=$front_out told=$front_told
same "its own routes" "$(curl -s "$url/")" hello
end_server
! said=$("$program" behind_front=1 </dev/null 2>&1) || fail "a TCP socket stands behind the front"
[[ $said == *"only a unix socket may stand behind the front"* ]] || fail "$said"
ok

count=2000
[ $long = no ] || count=10000
check "idle connections cost little and a new client is served beside them"
serve connections=$((count + 100)) request=120000 write=60000
before=$(figure rss_kib)
fds=()
for ((i = 0; i < count; i++)); do
    connect
    fds+=("$fd")
done
deadline_s=60 until_true is_figure connections $count
for ((i = 0; i < count; i += 2)); do # half of them have asked once
    say "${fds[i]}" "GET / HTTP/1.1\r\n$H\r\n"
done
deadline_s=60 until_true is_above requests $((count / 2 - 1))
after=$(figure rss_kib)
[ $is_sanitized = yes ] || [ $((after - before)) -lt $((count * 4)) ] || fail "$count connections: $before KiB grew to $after KiB"
same "a new client" "$(curl -s --max-time 5 "$url/")" hello
start=$(date +%s%N)
for i in {1..20}; do
    same "another" "$(curl -s --max-time 5 "$url/")" hello
done
took=$((($(date +%s%N) - start) / 20000000))
for fd in "${fds[@]}"; do
    eval "exec $fd>&-"
done
deadline_s=60 until_true is_figure connections 0
end_server
ok "$count: $before KiB, then $after KiB; $took ms a request"

check "memory is bounded when bodies flood in"
serve bodies=33554432 body=4194304 connections=500 request=120000
before=$(figure rss_kib)
head -c 3000000 /dev/zero >"$TMPDIR/part"
fds=()
for i in {1..60}; do
    connect
    say "$fd" "POST /echo HTTP/1.1\r\n${H}Content-Length: 4000000\r\n\r\n"
    cat "$TMPDIR/part" >&"$fd" 2>/dev/null &
    fds+=("$fd")
done
deadline_s=30 until_true is_above refused_bodies 30
after=$(figure rss_kib)
bytes=$(figure body_bytes)
[ "$bytes" -le 33554432 ] || fail "$bytes bytes are held"
[ $is_sanitized = yes ] || [ $((after - before)) -lt $((48 * 1024)) ] || fail "$before KiB grew to $after KiB"
for fd in "${fds[@]}"; do
    eval "exec $fd>&-"
done
deadline_s=30 until_true is_figure connections 0
end_server
ok "$((after - before)) KiB for at most 32768 KiB of bodies"

finish
