#!/usr/bin/env bash
# Links of the Markdown pages lead somewhere: every relative link to a file or folder, with a heading of that page after '#', and in
# .github/CONTRIBUTING.md every path in `code`.
#   tests/scripts/links.sh
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
cd "$(dirname -- "$0")/../.." || exit
pages=$(git ls-files --cached --others --exclude-standard '*.md' 2>/dev/null)
[ -n "$pages" ] || pages=$(find . -name '*.md' ! -path './build*' | sed 's|^\./||')
faults=0 links=0
bad() {
  faults=$((faults + 1))
  echo "FAILED  $1: $2"
}
# The anchors that GitHub makes of a page's headings.
anchors() { sed -n '/^```/,/^```/d; s/^##* *//p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'; }
for page in $pages; do
  folder=$(dirname "$page")
  while read -r target; do
    links=$((links + 1))
    case $target in http://* | https://* | mailto:*) continue ;; esac
    file=${target%%#*} anchor=
    [ "$file" = "$target" ] || anchor=${target#*#}
    if [ -n "$file" ] && [ ! -e "$folder/$file" ]; then
      bad "$page" "the link to $target leads nowhere"
    elif [ -n "$anchor" ]; then
      of=$page
      [ -z "$file" ] || of=$folder/$file
      anchors "$of" | grep -qxF -- "$anchor" || bad "$page" "$of has no heading #$anchor"
    fi
  done < <(tr '\n' ' ' <"$page" | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//')
done
while read -r path; do
  links=$((links + 1))
  [ -e "$path" ] || bad .github/CONTRIBUTING.md "there is no $path"
done < <(grep -oE '`[a-z.]+(/[A-Za-z0-9_.]+)+`' .github/CONTRIBUTING.md | tr -d '`' | grep -v '^build/')
echo "$links links and paths, $faults faults"
[ $links -gt 100 ] && [ $faults = 0 ]
