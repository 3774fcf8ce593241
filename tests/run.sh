#!/bin/sh
# Runs the suites (all, or those named: c unit integration faults regress conformance) and ends with one line over all of them.
set -u
cd "$(dirname "$0")/.."
B=${B:-build}
suites=${*:-c unit integration faults regress conformance}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
status=0

for suite in $suites; do
  if [ "$suite" = c ]; then
    for test in "$B"/tests/test_*; do
      case $test in *.d) continue ;; esac
      echo "== $(basename "$test")"
      "$test" >"$out/c.log" 2>&1 || { status=1; cat "$out/c.log"; }
      tail -n 1 "$out/c.log" | tee -a "$out/counts"
    done
  else
    echo "== tests/$suite"
    timeout 1200 "$B/perilune" test --counts "$out/counts.$suite" "tests/$suite" || status=1
    # A suite that ended without saying how it went has failed.
    cat "$out/counts.$suite" >>"$out/counts" 2>/dev/null || { echo "tests/$suite ended without a result"; echo "0 passed, 1 failed" >>"$out/counts"; status=1; }
  fi
done

awk '{ for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) p += $i; if ($(i + 1) ~ /^failed/) f += $i; if ($(i + 1) ~ /^skipped/) s += $i } }
     END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }' "$out/counts" || status=1
exit $status
