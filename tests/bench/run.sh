#!/bin/sh
# tests/bench/run.sh [--json] [--rounds N]: measures Perilune beside public SDKs. The table goes to standard output,
# progress and what is skipped to standard error. README.md says what is measured and how.
set -eu
cd "$(dirname "$0")/../.."
here=$PWD/tests/bench
perilune=$(realpath "${B:-build}/perilune")
shared=$(realpath -e ../shared/bench 2>/dev/null || true) # the upstream and the peers, when they are there
peers=${XDG_CACHE_HOME:-$HOME/.cache}/perilune-bench
work=$(mktemp -d)
running=

say() {
  echo "bench: $*" >&2
}

cleanup() {
  if [ -n "$running" ]; then
    kill "$running" 2>/dev/null || true
    wait "$running" || true
  fi
  [ ! -s "$work/proxy/nginx.pid" ] || kill "$(cat "$work/proxy/nginx.pid")" 2>/dev/null || true
  [ ! -s "$work/nginx/nginx.pid" ] || kill "$(cat "$work/nginx/nginx.pid")" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The upstream has one core, what is measured the other.
measured_core= other_core=
if [ "$(nproc)" -ge 2 ]; then
  measured_core="taskset -c 0" other_core="taskset -c 1"
else
  say "one core only: the upstream competes with what is measured"
fi
ulimit -n "$(ulimit -H -n)" # thousands of streams

install_nginx() {
  [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] && return
  say "installing nginx-light libnginx-mod-http-lua"
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends nginx-light libnginx-mod-http-lua >/dev/null
}

install_wrk() {
  command -v wrk >/dev/null && return
  say "installing wrk"
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends wrk >/dev/null
}

# What a gateway is measured beside: nginx passing the same bytes on, on the core of what is measured.
start_proxy() {
  mkdir -p "$work/proxy/logs"
  $measured_core nginx -p "$work/proxy" -e "$work/proxy/error.log" -c "$shared/proxy.conf"
}

start_upstream() {
  mkdir -p "$work/nginx/logs"
  $other_core nginx -p "$work/nginx" -e "$work/nginx/error.log" -c "$shared/upstream.conf"
}

# Node modules are looked up from where a script lies, so the scripts of the peers are copied to the modules.
install_peers() {
  mkdir -p "$peers"
  if [ ! -d "$peers/node_modules/@portkey-ai/gateway" ]; then
    say "installing ai, openai, @openai/agents and @portkey-ai/gateway in $peers"
    npm install --prefix "$peers" --no-audit --no-fund --loglevel=error ai@6 @ai-sdk/openai@3 openai@7 @openai/agents@0.20 zod@4 \
      @portkey-ai/gateway@1 >&2 || return
  fi
  cp "$here"/*.mjs "$shared"/peers/*.mjs "$peers/"
}

# A folder of its own: it wants another zod.
install_langgraph() {
  mkdir -p "$peers/langgraph"
  if [ ! -d "$peers/langgraph/node_modules/@langchain/langgraph-checkpoint-sqlite" ]; then
    say "installing LangGraph and its SQLite checkpointer in $peers/langgraph"
    npm install --prefix "$peers/langgraph" --no-audit --no-fund --loglevel=error --legacy-peer-deps @langchain/langgraph@1.0.0 \
      @langchain/langgraph-checkpoint-sqlite@1.0.0 @langchain/langgraph-checkpoint@1.1.5 @langchain/core@1.2 @langchain/openai@1.6 zod@3 >&2 || return
  fi
  cp "$here/langgraph_thread.mjs" "$shared"/peers/langgraph.mjs "$peers/langgraph/"
}

base_url=
if [ -z "$shared" ]; then
  say "skipped: everything that needs ../shared/bench (the upstream and the peers)"
  peers=
elif install_nginx && start_upstream; then
  base_url=http://127.0.0.1:18080/v1
else
  say "skipped: everything that needs the upstream, because nginx did not start"
fi
if [ -n "$peers" ] && ! { command -v node >/dev/null && command -v npm >/dev/null; }; then
  say "skipped: the peers, because node and npm are not installed"
  peers=
elif [ -n "$peers" ] && ! install_peers; then
  say "skipped: the peers, because they could not be installed"
  peers=
fi

if [ -n "$peers" ] && install_langgraph; then
  export BENCH_LANGGRAPH="$peers/langgraph"
elif [ -n "$peers" ]; then
  say "skipped: LangGraph, because it could not be installed"
fi

if [ -n "$peers" ] && [ -n "$base_url" ] && install_wrk && start_proxy; then
  export BENCH_GATEWAY=1
else
  say "skipped: the gateways, because nginx, wrk or the peers are missing"
fi

[ -z "$peers" ] || export BENCH_PEERS="$peers"
export BENCH_SHARED="$shared"
[ -z "$base_url" ] || export BENCH_BASE_URL="$base_url"
export BENCH_PERILUNE="$perilune" BENCH_OTHER_CORE="$other_core" BENCH_WORK="$work"
$measured_core "$perilune" run "$here/bench.lua" "$@" &
running=$!
status=0
wait "$running" || status=$?
running=
exit "$status"
