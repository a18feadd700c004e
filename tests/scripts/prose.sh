#!/bin/sh
# Sentences of Markdown pages are short: at most 16 words on average and 30 in any. None begins with "Of", "What", "The same" or "Whether".
# The script prints the average and the five longest sentences of each page.
#   tests/scripts/prose.sh [FILE.md ...]      paths from the checkout; default: every tracked page but the results of measurements
# Only running text counts: no code blocks, tables, headings, tags and targets of links. A span of code is one word.
cd "$(dirname -- "$0")/../.." || exit
case ${1-} in *.md) ;; *) set -- ;; esac # the tests hand every script the build folder
[ $# -gt 0 ] || {
  # A copy of the project without git: the pages where they lie.
  pages=$(git ls-files '*.md' 2>/dev/null)
  [ -n "$pages" ] || pages=$(find . -name '*.md' ! -path './build*' | sed 's|^\./||')
  # shellcheck disable=SC2046 # no page has a space in its name
  set -- $(echo "$pages" | grep -v '/results/' | sort)
}
awk -v most_on_average=16 -v most=30 '
  function plain(text) {
    while (match(text, /`[^`]*`/)) {               # code: one word
      code = substr(text, RSTART + 1, RLENGTH - 2)
      gsub(/[ ]/, "_", code)
      text = substr(text, 1, RSTART - 1) "\001" code "\001" substr(text, RSTART + RLENGTH)
    }
    gsub(/\001/, "`", text)
    while (match(text, /!?\[[^]]*\]\([^)]*\)/)) {  # [text](target): its text
      link = substr(text, RSTART, RLENGTH)
      shown = link ~ /^!/ ? "" : substr(link, 2, index(link, "](") - 2)
      text = substr(text, 1, RSTART - 1) shown substr(text, RSTART + RLENGTH)
    }
    gsub(/\*\*|<\/?[a-z][^>]*>/, "", text)
    return text
  }
  function sentence(text,    i, n, words, word) {
    sub(/^[ "(]+/, "", text)
    n = split(text, word, /[ \t]+/)
    words = 0
    for (i = 1; i <= n; ++i) if (word[i] ~ /[A-Za-z0-9]/) ++words
    if (words == 0) return
    ++sentences
    all += words
    if (text ~ /^(Of|What|The same|Whether)[^A-Za-z]/) complain("begins with a word of the list: " text)
    if (words > most) complain(words " words: " text)
    for (i = 5; i > 0 && words > length_of[i]; --i) {
      if (i < 5) { length_of[i + 1] = length_of[i]; longest[i + 1] = longest[i] }
      length_of[i] = words; longest[i] = text
    }
  }
  # A sentence ends at . ! ? before a space or the end; not after "e.g." and its like, nor before a small letter.
  function paragraph(text,    end, rest) {
    text = plain(text)
    rest = ""
    while (match(text, /[.!?][)"]*([ ]+|$)/)) {
      end = RSTART + RLENGTH - 1
      rest = rest substr(text, 1, end)
      text = substr(text, end + 1)
      if (text != "" && (rest ~ /(^|[ (])(e\.g|i\.e|etc|cf|vs)\.[)"]* *$/ || text !~ /^["(]*[A-Z0-9`]|^norma/)) continue
      sentence(rest)
      rest = ""
    }
    sentence(rest text)
  }
  function flush() { if (block != "") paragraph(block); block = "" }
  function complain(what) { problems = problems "  " what "\n"; failed = 1 }
  function report(    i) {
    flush()
    if (sentences && all > most_on_average * sentences) complain("more than " most_on_average " words a sentence")
    printf "%s: %d sentences, %.1f words on average\n", file, sentences, sentences ? all / sentences : 0
    for (i = 1; i <= 5 && length_of[i]; ++i) printf "  %2d  %s\n", length_of[i], substr(longest[i], 1, 120)
    if (problems) printf "FAILED %s\n%s", file, problems
    sentences = all = 0; block = problems = ""
    for (i = 1; i <= 5; ++i) length_of[i] = 0
  }
  FNR == 1 { if (file != "") report(); file = FILENAME; fenced = 0 }
  /^ *(```|~~~)/ { flush(); fenced = !fenced; next }
  fenced || /^ *\|/ || /^ *#/ || /^    / && block == "" { flush(); next }
  /^ *$/ { flush(); next }
  /^ *([-*+]|[0-9]+\.) / { flush(); sub(/^ *([-*+]|[0-9]+\.) +/, "") }
  { sub(/^ *>? */, ""); block = block (block == "" ? "" : " ") $0 }
  END { report(); exit failed }
' "$@"
