#!/bin/sh
# The rooms, the folders of src and apps/norma, include each other's headers without a circle, and hold at most 24 files each,
# those of apps/norma 20.
#   tests/scripts/rooms.sh
cd "$(dirname -- "$0")/../.." || exit
failed=0
# "<room> <room whose header it includes>" of every pair; tsort names what stands in a circle.
arrows=$(grep -rE --include='*.h' --include='*.cpp' '^#include "(src|apps/norma)/[a-z_]+/' src/*/ apps/norma/*/ |
  sed -E 's|^(.*)/[^/]*:#include "(.*)/[^/]*"|\1 \2|' | awk '$1 != $2' | sort -u)
echo "$arrows" | tsort >/dev/null || failed=1
for room in src/*/ apps/norma/*/; do
  count=$(find "$room" -name '*.h' -o -name '*.cpp' | wc -l)
  most=24
  case $room in apps/*) most=20 ;; esac
  [ "$count" -le $most ] || { echo "$room holds $count files: split it by idea"; failed=1; }
done
echo "$(echo "$arrows" | wc -l) arrows between rooms"
exit $failed
