#!/bin/sh
# Builds every fuzz target with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer and runs each for SECONDS.
# Findings and the corpus stay in build-fuzz/.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
command -v clang >/dev/null || { echo "fuzz: clang is needed (Debian packages clang libclang-rt-14-dev)" >&2; exit 1; }
mkdir -p build-fuzz
for source in tests/fuzz/fuzz_*.c; do
  name=$(basename "$source" .c)
  clang -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -Isrc -Itests/c -o "build-fuzz/$name" "$source" src/base/*.c src/failover/*.c -lm -lpthread
  mkdir -p "build-fuzz/corpus/$name"
  echo "== $name, $seconds s"
  "build-fuzz/$name" -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 -artifact_prefix=build-fuzz/ \
    "build-fuzz/corpus/$name" 2>&1 | grep -E '^(stat::number_of_executed|SUMMARY|ERROR|==)' || { echo "$name failed"; exit 1; }
done
