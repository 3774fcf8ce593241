#!/bin/sh
# tests/lint/run.sh [ROOT]: prints every problem as file:line: text. Exits with 1 if there is one.
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}" || exit 2
lua=${LUA:-lua5.4}
failed=0
for check in layers banned text meta; do
    LUA_PATH="$here/?.lua;;" "$lua" "$here/$check.lua" || failed=1
done
if command -v luacheck >/dev/null; then
    folders=
    for folder in lua scripts tests; do
        if [ -d "$folder" ]; then
            folders="$folders $folder"
        fi
    done
    # shellcheck disable=SC2086
    luacheck --no-color --quiet --codes --formatter plain $folders || failed=1
else
    echo "tests/lint/run.sh:1: luacheck is not installed (Debian: lua-check)"
    failed=1
fi
exit $failed
