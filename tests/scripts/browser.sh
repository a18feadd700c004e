#!/usr/bin/env bash
# The pages of two runs in a browser. Nothing is refused or fails to load, every image is decoded, and the page shows the run's own data.
#   tests/scripts/browser.sh [build directory]      or NORMA=<program> tests/scripts/browser.sh
# Chromium, headless, without a network. Exit code 77 without Chromium.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -u
norma=$(realpath "${NORMA:-${1:-build}/norma}")
[ -x "$norma" ] || { echo "browser.sh: no program $norma" >&2; exit 2; }
browser=
for name in "${BROWSER_PROGRAM:-}" chromium google-chrome chrome; do
  [ -n "$name" ] && command -v "$name" >/dev/null && "$name" --version >/dev/null 2>&1 && { browser=$name; break; }
done
[ -n "$browser" ] || { echo "skipped: no Chromium here, so the pages are not loaded in a browser"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/norma-browser.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
unset NORMA_RECIPE_DIR NORMA_DATA_DIR
export HOME="$work/home"
failed=0

check() { # <name> <got> <expected>
  if [ "$2" = "$3" ]; then echo "ok      $1"; else failed=$((failed + 1)); echo "FAILED  $1: expected '$3', got '$2'"; fi
}

cat >digits.toml <<'RECIPE'
[data]
name = "digits"
train_samples = 400
test_samples = 100
[model]
layers = [
  { type = "conv2d", out = 4, kernel = 5 }, { type = "norm" }, { type = "activation" }, { type = "max_pool2d", kernel = 2 },
  { type = "flatten" }, { type = "linear", out = 10 },
]
[optimizer]
kind = "adam"
[train]
epochs = 2
batch_size = 32
RECIPE
"$norma" train digits.toml --quiet --out digits >/dev/null || exit 1
"$norma" train circles-bn --epochs 2 --quiet --out circles >/dev/null || exit 1
"$norma" compare digits.toml --vary optimizer.lr=0.01,0.1 --seeds 2 --quiet --out lab >/dev/null || exit 1

# A page around a frame reads the frame's page and writes its findings where --dump-dom shows them: the report itself runs no script.
cat >reader.html <<'PAGE'
<!DOCTYPE html><iframe id="page" width="390" height="844"></iframe><pre id="found"></pre><script>
const frame = document.getElementById("page");
frame.onload = async () => {
  const page = frame.contentDocument, images = [...page.images], row = [...page.querySelectorAll("section")];
  const of = (name) => row.find((s) => s.querySelector("h2").textContent === name);
  await Promise.all(images.map((i) => i.decode().catch(() => 0)));
  const tile = [...page.querySelectorAll(".tile")].find((t) => t.querySelector("dt").textContent === "Test accuracy");
  const cells = of("Confusions") ? [...of("Confusions").querySelectorAll("tbody td:not(:last-child)")] : [];
  const found = {
    accuracy: tile && tile.querySelector("dd").firstChild.textContent,
    epochs: of("Epochs") && of("Epochs").querySelectorAll("tbody tr").length,
    charts: ["Curves", "Data", "By epoch", "In one picture"].map((s) => (of(s) ? of(s).querySelectorAll("svg[aria-label]").length : 0))
      .reduce((a, b) => a + b),
    health: of("Batch norm health") && of("Batch norm health").querySelectorAll("svg[aria-label]").length,
    verdict: page.querySelector(".status") && page.querySelector(".status").textContent.slice(0, 18),
    variants: of("Results") && of("Results").querySelectorAll("tbody tr").length,
    images: images.length,
    broken: images.filter((i) => !i.complete || !i.naturalWidth).length,
    unnamed: images.filter((i) => !i.alt).length,
    wide: page.documentElement.scrollWidth > page.documentElement.clientWidth,
    tested: cells.reduce((sum, c) => sum + Number(c.textContent), 0),
  };
  document.getElementById("found").textContent = Object.entries(found).map(([k, v]) => `found ${k} ${v}`).join("\n");
};
frame.src = new URLSearchParams(location.search).get("page");
</script>
PAGE

# Chromium now and then dumps the page before its frame has been read, so up to three times.
load() { # <run>: leaves <run>.dom and <run>.log
  for _ in 1 2 3; do
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-extensions --no-first-run --user-data-dir="$work/profile" \
      --allow-file-access-from-files --enable-logging=stderr --v=0 --virtual-time-budget=5000 --host-resolver-rules='MAP * ~NOTFOUND' \
      --dump-dom "file://$work/reader.html?page=$1/report.html" >"$1.dom" 2>"$1.log"
    ! grep -q 'found images' "$1.dom" || break
  done
}
found() { sed -n "s/.*found $2 //p" "$1.dom" | sed 's/<.*//' | head -n 1; }
accuracy() { tail -n 1 "$1/metrics.jsonl" | sed 's/.*"test_accuracy":\([0-9.e-]*\).*/\1/' | awk '{ printf "%.2f %%", 100 * $1 }'; }

for run in digits circles; do
  load $run
  check "$run: no message on the console" "$(grep -c 'CONSOLE' $run.log)" 0
  check "$run: test accuracy" "$(found $run accuracy)" "$(accuracy $run)"
  check "$run: a row an epoch" "$(found $run epochs)" "$(grep -c . $run/metrics.jsonl)"
  check "$run: images that did not load" "$(found $run broken)" 0
  check "$run: images without words" "$(found $run unnamed)" 0
  check "$run: wider than a phone" "$(found $run wide)" false
done
check "digits: every test sample is in the matrix" "$(found digits tested)" 100
check "digits: four filters, twenty samples and mistakes" "$([ "$(found digits images)" -ge 24 ] && echo yes)" yes
check "circles: four curves and the boundary" "$(found circles charts)" 5
check "circles: the health of its batch norms is drawn" "$([ "$(found circles health)" -ge 3 ] && echo yes)" yes

load lab
check "a comparison: no message on the console" "$(grep -c 'CONSOLE' lab.log)" 0
check "a comparison: its verdict" "$(found lab verdict)" "Best test accuracy"
check "a comparison: a row a variant" "$(found lab variants)" 2
check "a comparison: over the learning rate, and loss and accuracy by epoch" "$(found lab charts)" 3
check "a comparison: wider than a phone" "$(found lab wide)" false

# The checks find what they look for: a script, an image from elsewhere, and one that is broken.
mkdir bad
sed 's|</main>|<script>1</script><img src="https://example.org/a.png" alt=""/><img src="data:image/png;base64,AAAA" alt="x"/></main>|' digits/report.html >bad/report.html
load bad
check "a bad page has messages on the console" "$([ "$(grep -c CONSOLE bad.log)" -gt 0 ] && echo yes)" yes
check "a bad page has images that did not load" "$(found bad broken)" 2
[ $failed = 0 ]
