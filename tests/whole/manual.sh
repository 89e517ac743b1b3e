#!/bin/bash
# Manual and shell completion, made from the commands' tables: what the tools that read them say.
. tests/host.sh "$@"

check "the manual is clean roff"
"$ACCRETE" man >"$TMPDIR/accrete.1"
if command -v groff >/dev/null; then
    said=$(groff -ww -man -Tutf8 -z "$TMPDIR/accrete.1" 2>&1)
    same "what groff says" "$said" ""
fi
if command -v mandoc >/dev/null; then
    mandoc -T lint -W error "$TMPDIR/accrete.1" || fail "mandoc"
fi
ok

check "completions are in their shell's syntax"
for shell in bash zsh fish; do
    "$ACCRETE" completion $shell >"$TMPDIR/completion.$shell"
    ! command -v $shell >/dev/null || $shell -n "$TMPDIR/completion.$shell" || fail "$shell -n"
done
code=0
"$ACCRETE" completion tcsh 2>/dev/null || code=$?
same "exit code for another shell" $code 2
ok

check "bash completes commands, options, their words, kinds and files"
new_app examples/closure
mkdir "$TMPDIR/bin"
ln -s "$(realpath "$ACCRETE")" "$TMPDIR/bin/accrete"
PATH=$TMPDIR/bin:$PATH
# shellcheck source=/dev/null
. "$TMPDIR/completion.bash"
completes() # WANTED WORDS...: what the last of the words becomes
{
    local wanted=$1

    shift
    COMP_WORDS=(accrete "$@")
    COMP_CWORD=$#
    _accrete || true
    same "completions of $*" "$(printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ')" "$wanted"
}
completes "ingest " inge
completes "--format " ingest --form
completes "ndjson " ingest --format nd
completes "debug " --log d
completes "edge path " --app "$app" count ""
completes "path " --app "$app" dump --kind p
completes "kind lifecycle " new ""
completes "README.md " ingest edge READM
completes "status " help statu
ok

finish
