#!/bin/sh
# tests/lint/planted.sh: plants one violation of every rule in a small tree and looks whether run.sh finds it, and whether
# it leaves the tree alone without one. Prints the rules that were missed.
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d) || exit 2
trap 'rm -rf "$tree"' EXIT
passed=0
failed=0

count() { # ok|not-ok, text
    if [ "$1" = ok ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "missed: $2"
    fi
}

fresh() {
    rm -rf "$tree/src" "$tree/lua"
    mkdir -p "$tree/src/base" "$tree/src/io" "$tree/src/store" "$tree/src/script" "$tree/src/api" "$tree/src/failover"
    for folder in std net model/provider tool store agent serve cli testing meta; do
        mkdir -p "$tree/lua/perilune/$folder"
    done
    cp "$here/../../.luacheckrc" "$tree/"
    printf '/* fetch */\n#include "../script/args.h"\nstatic const luaL_Reg functions[] = {{"open", f_open}, {NULL, NULL}};\n' > "$tree/src/api/lfetch.c"
    printf -- '---@meta\nlocal M = {}\n\nfunction M.open() end\n\nreturn M\n' > "$tree/lua/perilune/meta/fetch.lua"
    printf 'local errors = require "perilune.std.errors"\n\nreturn errors\n' > "$tree/lua/perilune/agent/loop.lua"
    printf -- '-- pcall( is only a word here\nreturn { text = "io.open(" }\n' > "$tree/lua/perilune/std/errors.lua"
}

# file, content (for printf), the line that run.sh must print
plant() {
    fresh
    mkdir -p "$(dirname "$tree/$1")"
    # shellcheck disable=SC2059
    printf "$2" > "$tree/$1"
    if "$here/run.sh" "$tree" > "$tree/out"; then
        count not-ok "$3 (exit code 0)"
    elif grep -qF -- "$3" "$tree/out"; then
        count ok
    else
        count not-ok "$3"
    fi
}

fresh
if "$here/run.sh" "$tree" > "$tree/out"; then
    count ok
else
    count not-ok "a clean tree is clean"
    cat "$tree/out"
fi

# Layers of C
plant src/base/bad.c '/* x */\n#include "../io/loop.h"\n' 'src/base/bad.c:2: base may not include io'
plant src/base/bad.c '/* x */\n#include <lua.h>\n' 'src/base/bad.c:2: base may not include lua.h'
plant src/failover/bad.c '/* x */\n#include "../store/store.h"\n' 'src/failover/bad.c:2: failover may not include store'
plant src/io/bad.c '/* x */\n#include <sqlite3.h>\n' 'src/io/bad.c:2: io may not include sqlite3.h'
plant src/io/fetch.c '/* x */\n#include "serve.h"\n' 'src/io/fetch.c:2: io/fetch may not include io/serve'
plant src/store/bad.c '/* x */\n#include <uv.h>\n' 'src/store/bad.c:2: store may not include uv.h'
plant src/store/bad.c '/* x */\n#include "../io/fetch.h"\n' 'src/store/bad.c:2: store may not include io'
plant src/script/bad.c '/* x */\n#include "../api/api.h"\n' 'src/script/bad.c:2: script may not include api'
plant src/script/bad.c '/* x */\n#include <curl/curl.h>\n' 'src/script/bad.c:2: script may not include curl/curl.h'
plant src/api/lbad.c '/* x */\n#include "lfetch.h"\n' 'src/api/lbad.c:2: api/lbad may not include api/lfetch'
plant src/other/bad.c '/* x */\n' "src/other/bad.c:1: unknown layer 'other'"

# Layers of Lua
plant lua/perilune/std/bad.lua 'return require "perilune.net.fetch"\n' 'lua/perilune/std/bad.lua:1: std may not require perilune.net.fetch'
plant lua/perilune/std/bad.lua 'return require("perilune.sys.fetch")\n' 'lua/perilune/std/bad.lua:1: std may not require perilune.sys.fetch'
plant lua/perilune/tool/bad.lua '\nreturn require "perilune.store.runs"\n' 'lua/perilune/tool/bad.lua:2: tool may not require perilune.store.runs'
plant lua/perilune/model/bad.lua 'return require "perilune.tool"\n' 'lua/perilune/model/bad.lua:1: model may not require perilune.tool'
plant lua/perilune/model/provider/bad.lua 'return require "perilune.sys.clock"\n' 'bad.lua:1: provider may not require perilune.sys.clock'
plant lua/perilune/model/provider/bad.lua 'return require "perilune.model.call"\n' 'bad.lua:1: provider may not require perilune.model.call'
plant lua/perilune/agent/bad.lua 'return require "perilune.serve"\n' 'lua/perilune/agent/bad.lua:1: agent may not require perilune.serve'
plant lua/perilune/agent/bad.lua 'return require "perilune"\n' 'lua/perilune/agent/bad.lua:1: agent may not require perilune'
plant lua/perilune/serve/bad.lua 'return require "perilune.cli.run"\n' 'lua/perilune/serve/bad.lua:1: serve may not require perilune.cli.run'
plant lua/perilune/init.lua 'return require "perilune.serve"\n' 'lua/perilune/init.lua:1: facade may not require perilune.serve'
plant lua/perilune/cli/bad.lua 'return require "perilune.boot"\n' 'lua/perilune/cli/bad.lua:1: cli may not require perilune.boot'
plant lua/perilune/agent/bad.lua 'return require "cjson"\n' 'perilune.agent.bad may not require cjson'
plant lua/perilune/other/bad.lua 'return {}\n' 'lua/perilune/other/bad.lua:1: unknown layer of perilune.other.bad'
plant lua/perilune/std/errors.lua 'return require "perilune.std.errors"\n' 'lua/perilune/std/errors.lua:1: requires go round: perilune.std.errors -> perilune.std.errors'

# Banned calls
for call in strcpy strcat sprintf strtok atoi gets system malloc calloc realloc free strdup exit printf fprintf puts; do
    plant src/io/bad.c "/* x */\nvoid f(void)\n{\n    $call(x);\n}\n" "src/io/bad.c:4: $call is banned here"
done
for call in 'pcall(f)' 'xpcall(f, g)' 'load("x")' 'loadfile("x")' 'dofile("x")' 'print("x")'; do
    plant lua/perilune/agent/bad.lua "return {}, $call\n" "lua/perilune/agent/bad.lua:1: ${call%%(*} is banned here"
done
plant lua/perilune/agent/bad.lua 'return pcall\n' 'lua/perilune/agent/bad.lua:1: pcall is banned here'
plant lua/perilune/agent/bad.lua 'return math.random()\n' 'lua/perilune/agent/bad.lua:1: math.random is banned here'
for call in 'os.execute("x")' 'os.getenv("x")' 'os.time()'; do
    plant lua/perilune/agent/bad.lua "return $call\n" 'lua/perilune/agent/bad.lua:1: os.* is banned here'
done
plant lua/perilune/agent/bad.lua 'return "a" .. io.read()\n' 'lua/perilune/agent/bad.lua:1: io.* is banned here'

# Texts
plant src/io/bad.c '/* x */\n\tint x;\n' 'src/io/bad.c:2: tab'
plant lua/perilune/agent/bad.lua 'return {} \n' 'lua/perilune/agent/bad.lua:1: white space at the end of the line'
plant lua/perilune/agent/bad.lua 'return {}' 'lua/perilune/agent/bad.lua:1: the last line does not end'
plant src/io/bad.c 'int x;\n' 'src/io/bad.c:1: a C file begins with a comment'
plant lua/perilune/agent/bad.lua 'return "SELECT id FROM threads"\n' 'lua/perilune/agent/bad.lua:1: SQL text belongs into db/'
plant src/store/bad.c '/* x */\nconst char *s = "PRAGMA user_version";\n' 'src/store/bad.c:2: SQL text belongs into db/'

# Meta files
plant src/api/lbad.c '/* x */\nstatic const luaL_Reg f[] = {{"open", f_open}, {"__gc", g}, {NULL, NULL}};\n' 'src/api/lbad.c:2: lua/perilune/meta/bad.lua does not exist'
plant src/api/lfetch.c '/* x */\nstatic const luaL_Reg a[] = {{"open", f_open}}, b[] = {\n    {"next", m_next}};\n' 'src/api/lfetch.c:3: next is not described in lua/perilune/meta/fetch.lua'
plant lua/perilune/meta/fetch.lua '\055--@meta\nlocal M = {}\nfunction M.open() end\nfunction M.shut() end\nreturn M\n' 'lua/perilune/meta/fetch.lua:4: describes shut'
plant lua/perilune/meta/fetch.lua 'local M = {}\nfunction M.open() end\nreturn M\n' 'lua/perilune/meta/fetch.lua:1: must begin with ---@meta'

# luacheck
plant lua/perilune/agent/bad.lua 'undeclared = 1\n' 'lua/perilune/agent/bad.lua:1:1: (W111)'

echo "lint: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
