#!/bin/sh
# Installs the packages that a build of norma needs and this machine lacks. Debian 12 and Ubuntu 24.04: with apt-get, as root or through
# sudo, and only for missing packages. Other systems: prints what is needed, and continues if the build can be configured.
#   sh cmake/setup.sh          to build and run norma
#   sh cmake/setup.sh tests    and to run the tests
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

build_packages='g++ cmake make ninja-build libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libtomlplusplus-dev
  zlib1g-dev libssl-dev libcurl4-openssl-dev libpng-dev ca-certificates'
test_packages='libgtest-dev librapidcheck-dev libboost-context-dev clang libclang-rt-dev libonnx-dev libprotobuf-dev python3-dev python3-venv
  pkgconf dpkg-dev zsh'
data_package=dataset-fashion-mnist # without it the data is downloaded
browser_package= # without it tests/scripts/browser.sh is skipped; Ubuntu's is no browser but a pointer to a snap

case ${1-} in
  '') wanted=$build_packages ;;
  tests)
    wanted="$build_packages $test_packages"
    ! grep -qx 'ID=debian' /etc/os-release 2>/dev/null || command -v google-chrome >/dev/null || browser_package=chromium ;;
  *) echo "usage: sh cmake/setup.sh [tests]" >&2; exit 2 ;;
esac

say() { echo "setup: $*" >&2; }

# Prints those of the given packages that are not installed. A tool from elsewhere on the PATH will do.
missing() {
  installed=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package} ' "$@" 2>/dev/null || true) "
  for package in "$@"; do
    case $installed in *"ii $package "*) continue ;; esac
    case $package in
      g++ | cmake | make | clang) command -v "$package" >/dev/null && continue ;;
      ninja-build) command -v ninja >/dev/null && continue ;;
      libcurl4-openssl-dev) dpkg-query -W -f '${db:Status-Abbrev}' libcurl4-gnutls-dev 2>/dev/null | grep -q '^ii' && continue ;;
    esac
    printf '%s ' "$package"
  done
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  say "no apt-get here, so nothing is installed. norma needs what these Debian packages hold:"
  say "  $(echo "$wanted" | tr -s '\n ' ' ')"
  ! command -v ninja >/dev/null || export CMAKE_GENERATOR="${CMAKE_GENERATOR:-Ninja}"
  preset=release
  [ "${1-}" != tests ] || preset=tests
  if output=$(cd "$root" && cmake --preset $preset 2>&1); then
    say "they are there: going on"
    exit 0
  fi
  echo "$output" >&2
  say "the build cannot be configured: install what is named above"
  exit 1
fi

# shellcheck disable=SC2086 # lists of words
needed=$(missing $wanted)
data_needed=$(missing $data_package)
if [ -d "${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/norma/datasets/fashion-mnist" ]; then
  data_needed= # downloaded before
fi
browser_needed=
[ -z "$browser_package" ] || browser_needed=$(missing "$browser_package")
[ -n "$needed$data_needed$browser_needed" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo >/dev/null; then
  as_root=sudo
elif [ -z "$needed" ]; then
  [ -z "$data_needed" ] || say "$data_package is not installed, and only root could install it: the data will be downloaded"
  [ -z "$browser_needed" ] || say "$browser_package is not installed, and only root could install it: pages are not tested in a browser"
  exit 0
else
  say "these packages are missing, and neither root nor sudo is at hand to install them:"
  say "  apt-get install --no-install-recommends $needed"
  exit 1
fi

apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" >&2; }

say "installing: $needed$data_needed$browser_needed"
apt update || say "apt-get update failed; trying with the package lists at hand"
# shellcheck disable=SC2086
if [ -n "$needed" ] && ! apt install --no-install-recommends $needed; then
  say "apt-get could not install: $needed"
  exit 1
fi
# shellcheck disable=SC2086
if [ -n "$data_needed" ] && ! apt install --no-install-recommends $data_needed; then
  say "apt-get could not install $data_package: the data will be downloaded"
fi
# shellcheck disable=SC2086
if [ -n "$browser_needed" ] && ! apt install --no-install-recommends $browser_needed; then
  say "apt-get could not install $browser_package: pages are not tested in a browser"
fi
