#!/usr/bin/env bash
# norma man and norma completions: what shells offer after some words, and what the readers of manual pages say of the page. A line a check.
#   tests/scripts/manual.sh [build directory]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
. "$(dirname "$0")/checks.sh"

flags_of() { "$norma" "$@" --help | grep -oE '^  +(-[a-z],)?--[a-z][a-z-]*' | grep -oE -- '--[a-z-]+' | sort -u; }

# ---- bash
"$norma" completions bash >norma.bash 2>stderr
check "completions bash" "$? $(cat stderr) $(bash -n norma.bash 2>&1)" "0  "
. ./norma.bash
offered() { # <words after norma>...: what bash offers in place of the last one
  COMP_WORDS=(norma "$@") COMP_CWORD=$#
  _norma
  echo "${COMPREPLY[*]}"
}
check "bash: a command" "$(offered tra)" train
check "... all of them" "$(offered '' | tr ' ' '\n' | sort)" "$("$norma" --help | sed -nE 's/^  ([a-z][a-z-]+) +[A-Z].*/\1/p' | sort)"
check "... within another" "$(offered bench st)" step
check "... a recipe" "$(offered train mnist-lenet-b)" mnist-lenet-bn
check "... every recipe" "$(offered plan '' | tr ' ' '\n' | sort | tr '\n' ' ')" "$("$norma" doctor --json | tr -d '\n' | sed 's/.*"recipes": \[\([^]]*\)\].*/\1/' | tr -d '" ' | tr ',' '\n' | sort | tr '\n' ' ')"
check "... a flag" "$(offered train tiny.toml --res)" --resume
for command in train eval compare inspect "bench bn" "data fetch"; do
  check "... every flag of $command" "$(comm -23 <(flags_of $command) <(offered $command -- | tr ' ' '\n' | sort -u))" ""
done
check "... the words of a flag" "$(offered train tiny.toml --norm '')" "none batch layer instance group"
check "... one that begins so" "$(offered train --optimizer adam)" "adam adamw"
check "... after =" "$(offered train --norm = ba) $(offered train --norm =)" "batch none batch layer instance group"
check "... nothing of its own for a file, so that bash offers files" "$(offered train --out '')" ""
check "... a shell" "$(offered completions z)" zsh
check "... a flag of another command is none" "$(offered doctor --res)" ""

# ---- the others
expect "completions of another shell" 2 'the shell must be one of bash, zsh, fish, got "tcsh"' completions tcsh
for shell in zsh fish; do
  "$norma" completions $shell >norma.$shell 2>stderr
  check "completions $shell" "$? $(grep -c mnist-lenet-bn norma.$shell | awk '{ print ($1 > 0) }')" "0 1"
  if command -v $shell >/dev/null; then check "... which it reads" "$($shell -n norma.$shell 2>&1)" ""
  else skip "... which it reads" "$shell is not installed"; fi
done
if command -v zsh >/dev/null; then
  mkdir functions && cp norma.zsh functions/_norma
  # An interactive zsh on a terminal of its own completes what it has so far, and prints it.
  cat >offers.zsh <<'ZSH'
zmodload zsh/zpty
zpty shell 'PS1= zsh -f -i'
zpty -w shell "fpath=($PWD/functions \$fpath); autoload -U compinit; compinit -u -d $PWD/dump; show() { print -r -- got: \$BUFFER; zle kill-buffer }; zle -N show; bindkey '^X' show; print rea''dy"
zpty -r -m shell line '*ready*'
zpty -w -n shell "norma $1"$'\t\x18'
zpty -r -m shell line '*got: norma*'$'\n'
print -r -- "${line##*got: }"
zpty -d shell
ZSH
  zsh_offers() { timeout 20 zsh -f offers.zsh "$1" 2>&1 | tr -d '\r' | sed 's/ *$//' | grep -v '^$'; }
  check "zsh: a command" "$(zsh_offers verif)" "norma verify"
  check "... within another" "$(zsh_offers 'bench ste')" "norma bench step"
  check "... a recipe" "$(zsh_offers 'train mnist-l')" "norma train mnist-lenet-bn"
  check "... a flag" "$(zsh_offers 'train --resu')" "norma train --resume"
  check "... the words of a flag" "$(zsh_offers 'train --optimizer rms')" "norma train --optimizer rmsprop"
fi
if command -v fish >/dev/null; then
  fish_offers() { fish -N -c "source norma.fish; complete -C 'norma $1'" | cut -f 1 | tr '\n' ' '; }
  check "fish: a command" "$(fish_offers verif)" "verify "
  check "... within another" "$(fish_offers 'bench st')" "step "
  check "... a flag" "$(fish_offers 'train --resu')" "--resume "
  check "... the words of a flag" "$(fish_offers 'train --optimizer rms')" "rmsprop "
fi

# ---- the page
"$norma" man >norma.1 2>stderr
check "man" "$? $(cat stderr) $(head -n 2 norma.1 | grep -c '^.TH NORMA 1')" "0  1"
for command in $("$norma" --help | sed -nE 's/^  ([a-z][a-z-]+) +[A-Z].*/\1/p'); do
  check "... has norma $command" "$(grep -c "^\.SS norma ${command//-/\\\\-}\$" norma.1)" 1
done
check "... every flag of train" "$(flags_of train | grep -vx -e --help | while read -r flag; do grep -qF -- "\\fB${flag//-/\\-}\\fR" norma.1 || echo "$flag"; done)" ""
check "... the exit codes" "$(grep -c '5 diverged' norma.1)" 1
if command -v groff >/dev/null; then check "... without a warning of groff" "$(groff -man -ww -z -Tutf8 norma.1 2>&1)" ""
else skip "... without a warning of groff" "groff is not installed"; fi
if command -v mandoc >/dev/null; then check "... nor of mandoc" "$(mandoc -T lint -W warning norma.1 2>&1 | grep -v 'missing date')" ""
else skip "... nor of mandoc" "mandoc is not installed"; fi

# ---- what the build wrote, and a package installs
built=$(dirname "$norma")/manual
if [ -d "$built" ]; then
  check "the build wrote the same" "$(cmp norma.bash "$built/norma" 2>&1; cmp norma.zsh "$built/_norma" 2>&1; cmp norma.fish "$built/norma.fish" 2>&1; cmp norma.1 "$built/norma.1" 2>&1)" ""
else
  skip "the build wrote the same" "it was cross-compiled, or is no build folder"
fi

finish
