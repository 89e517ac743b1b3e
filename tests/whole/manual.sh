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
completes "kind lifecycle route " new ""
completes "README.md " ingest edge READM
completes "status " help statu
ok

# What is typed, and what it becomes
pairs=(
    "accrete inge" "accrete ingest "
    "accrete ingest --form" "accrete ingest --format "
    "accrete ingest --format nd" "accrete ingest --format ndjson "
    "accrete --log deb" "accrete --log debug "
    "accrete help statu" "accrete help status "
    "accrete new lifec" "accrete new lifecycle "
    "accrete schema dri" "accrete schema drift "
    "accrete --app $app dump --kind p" "accrete --app $app dump --kind path "
    "accrete count --app $app edge pa" "accrete count --app $app edge path "
    "accrete --app $app count edge pa" "accrete --app $app count edge path "
    "accrete ingest edge READM" "accrete ingest edge README.md "
)

if command -v zsh >/dev/null; then
    check "zsh completes the same, found in fpath or sourced"
    mkdir "$TMPDIR/zsh"
    cp "$TMPDIR/completion.zsh" "$TMPDIR/zsh/_accrete"
    words=() wanted=()
    for ((i = 0; i < ${#pairs[@]}; i += 2)); do
        words+=("${pairs[i]}")
        wanted+=("${pairs[i + 1]}")
    done
    same completions "$(timeout 60 zsh -f tests/whole/complete.zsh "$TMPDIR/zsh" "${words[@]}")" "$(printf '%s\n' "${wanted[@]}")"
    said=$(zsh -f -c "autoload -Uz compinit; compinit -u -D; source $TMPDIR/completion.zsh; echo \$_comps[accrete]" 2>&1)
    same "what the sourced file is for" "$said" _accrete
    ok
fi

if command -v fish >/dev/null; then
    check "fish completes the same"
    for ((i = 0; i < ${#pairs[@]}; i += 2)); do
        said=$(HOME=$TMPDIR fish --no-config -c "source $TMPDIR/completion.fish; complete -C '${pairs[i]}'" 2>&1)
        wanted=${pairs[i + 1]% }
        same "completions of ${pairs[i]}" "${said%%$'\t'*}" "${wanted##* }"
    done
    ok
fi

finish
