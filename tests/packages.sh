#!/bin/sh
# Installs the Debian packages that a build (or the tests) need and that are missing. Quick when nothing is. `proxies`: two servers that the
# tests use where they are there; nobody gets them only because he runs the tests.
set -eu
case "${1:-build}" in
build) packages="gcc libc6-dev make liblua5.4-dev libuv1-dev libcurl4-openssl-dev libcurl4 lua-cjson-dev libsqlite3-dev" ;;
test) packages="lua-busted lua-check ca-certificates openssl curl" ;;
proxies) packages="nginx-light haproxy" ;;
*) echo "usage: $0 build|test|proxies" >&2; exit 2 ;;
esac
missing=
for package in $packages; do
  [ -e "/var/lib/dpkg/info/$package.list" ] || [ -e "/var/lib/dpkg/info/$package:$(dpkg --print-architecture).list" ] || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "installing:$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
