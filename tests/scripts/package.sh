#!/usr/bin/env bash
# The Debian package: what it says of itself and holds; the program and the library from an unpacked one.
#   tests/scripts/package.sh <build folder>          here, in seconds
#   tests/scripts/package.sh <build folder> deep     installs it in a fresh Debian 12, which debootstrap fetches, and trains there; as root
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
build=$(realpath "${1:?usage: tests/scripts/package.sh BUILD_FOLDER [deep]}")
source=$(realpath "$(dirname "$0")/../..")
for tool in dpkg-deb dpkg-shlibdeps; do
  command -v $tool >/dev/null || { echo "skipped: no $tool here, so there is no Debian package"; exit 77; }
done
if ! grep -q '^NORMA_SANITIZE:[A-Z]*=$' "$build/CMakeCache.txt"; then
  echo "skipped: a build with sanitizers is not packed"
  exit 77
fi
. "$(dirname "$0")/checks.sh"

if ! cpack --config "$build/CPackConfig.cmake" -G DEB -B "$work" >out 2>&1; then
  bad "cpack" "$(tail -n 9 out)"
  finish
  exit 1
fi
package=$(ls "$work"/*.deb)
version=$("$norma" --version | cut -d ' ' -f 2)
check "its name" "$(basename "$package")" "norma_${version}_$(dpkg --print-architecture).deb"
dpkg-deb --info "$package" >info && dpkg-deb --contents "$package" >contents
field() { dpkg-deb --field "$package" "$1"; }
check "its fields" "$(field Package) $(field Version) $(field Section)" "norma $version science"
check "... a description of more than a line" "$(field Description | wc -l | awk '{ print ($1 > 1) }')" 1
check "... the packages of the libraries in the program" "$(field Depends | tr ',' '\n' | sed 's/ (.*//; s/^ //; s/t64$//' | grep -cE '^(libc6|libstdc\+\+6|zlib1g|libssl3|libcurl4|libpng16-16|libfmt[0-9]+|libspdlog[0-9.a-z-]*)$' | awk '{ print ($1 >= 7) }')" 1
check "... no name of a person" "$(field Maintainer)" "the norma authors <norma@example.invalid>"
check "no file of a user's" "$(grep -c conffiles info) $(grep -cvE ' \./(usr/.*)?$' contents)" "0 0"
check "no empty folder" "$(awk '{ print $6 }' contents | sort | awk 'prev ~ /\/$/ && index($0, prev) != 1 { print prev } { prev = $0 }')" ""
for file in bin/norma lib/libnorma.a include/norma/norma.h include/norma/export.h lib/pkgconfig/norma.pc lib/cmake/norma/normaConfig.cmake \
  share/man/man1/norma.1 share/bash-completion/completions/norma share/zsh/vendor-completions/_norma share/fish/vendor_completions.d/norma.fish \
  share/norma/recipes/mnist-lenet-bn.toml share/norma/recipes/comparisons/learning-rates.toml share/doc/norma/copyright share/doc/norma/README.md \
  share/doc/norma/include/norma/README.md share/doc/norma/apps/norma/JSON.md; do
  check "it holds $file" "$(grep -c " \./usr/$file\$" contents)" 1
done

if [ "${2-}" = deep ]; then
  command -v debootstrap >/dev/null || { echo "skipped: no debootstrap here: apt-get install debootstrap"; exit 77; }
  [ "$(id -u)" = 0 ] || { echo "skipped: debootstrap needs root"; exit 77; }
  root=$work/root
  debootstrap --variant=minbase bookworm "$root" "${NORMA_DEBIAN_MIRROR:-http://deb.debian.org/debian}" >out 2>&1 || bad "debootstrap" "$(tail -n 5 out)"
  cp "$package" "$root/tmp/norma.deb"
  cp "$source/apps/examples/train_lenet.cpp" tiny.toml "$root/tmp/"
  cp /etc/resolv.conf "$root/etc/"
  for proxy in /etc/apt/apt.conf.d/*proxy*; do [ ! -e "$proxy" ] || cp "$proxy" "$root/etc/apt/apt.conf.d/"; done
  inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} chroot "$root" sh -c "$1" >out 2>&1; }
  inside 'apt-get -q -y update && apt-get -q -y install --no-install-recommends /tmp/norma.deb' && ok "apt installs it with its libraries alone" || bad "apt installs it with its libraries alone" "$(tail -n 9 out)"
  inside 'cd /tmp && norma train tiny.toml --out run' && ok "... it trains" || bad "... it trains" "$(tail -n 9 out)"
  check "... to the bits that it has here" "$(inside 'tail -n 1 /tmp/run/metrics.jsonl'; key out parameters_hash)" "$("$norma" train tiny.toml --out here --quiet >/dev/null 2>&1; key here/metrics.jsonl parameters_hash)"
  inside 'apt-get -q -y install --no-install-recommends g++ pkgconf zlib1g-dev libssl-dev && cd /tmp && g++ -std=c++20 $(pkg-config --cflags norma) train_lenet.cpp -o train_lenet $(pkg-config --static --libs norma) && ./train_lenet' &&
    ok "... a program built with it trains" || bad "... a program built with it trains" "$(tail -n 9 out)"
  inside 'apt-get -q -y remove norma && ! ls -d /usr/*/norma /usr/*/*/norma /usr/bin/norma /usr/lib/libnorma*' && ok "... and it goes without a trace" || bad "... and it goes without a trace" "$(tail -n 9 out)"
  finish
  exit
fi

dpkg -x "$package" root
check "the program trains" "$(root/usr/bin/norma train tiny.toml --epochs 1 --out run --json --quiet 2>&1 | grep -c '"final":true')" 1
cat >use.cpp <<'CODE'
#include <norma/norma.h>
int main() { return norma::make_digits(4, 1, 0).train.size() == 4 ? 0 : 1; }
CODE
if command -v pkg-config >/dev/null; then
  compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
  export PKG_CONFIG_PATH=$work/root/usr/lib/pkgconfig
  # shellcheck disable=SC2046
  "$compiler" -std=c++20 $(pkg-config --cflags norma) use.cpp -o use $(pkg-config --static --libs norma) >out 2>&1 && ./use >>out 2>&1
  check "a program by its pkg-config file" "$? $(head -n 5 out)" "0 "
else
  skip "a program by its pkg-config file" "pkg-config is not installed"
fi
finish
