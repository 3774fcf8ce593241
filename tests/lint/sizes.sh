#!/bin/sh
# tests/lint/sizes.sh: the longest functions and files, those over the aims marked with "!".
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}" || exit 2
LUA_PATH="$here/?.lua;;" exec "${LUA:-lua5.4}" "$here/sizes.lua"
