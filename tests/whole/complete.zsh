# What zsh makes of words when Tab is pressed behind them: complete.zsh FOLDER-OF-_accrete WORDS... prints a line for each.
zmodload zsh/zpty
folder=$1
shift
zpty shell zsh -f -i
setup='PROMPT=; unsetopt beep zle_bracketed_paste; unset zle_bracketed_paste; autoload -Uz compinit
fpath=('${(q)folder}' $fpath); compinit -u -D; zstyle ":completion:*" insert-tab false
told() { print -r -- "<<$BUFFER>>"; zle kill-buffer; zle send-break }; zle -N told; bindkey "^X" told; bindkey "^I" complete-word
print -r -- "<<"ready">>"'
zpty -w shell $setup
zpty -r -m shell line '*<<ready>>*' || exit 1
for words in "$@"; do
    zpty -w -n shell $words$'\t\x18'
    zpty -r -m shell line '*<<*>>*' || exit 1
    print -r -- ${${line##*<<}%%>>*}
done
zpty -d shell
