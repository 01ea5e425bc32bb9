#!/bin/sh
# Installs nginx, haproxy, tinyproxy and chromium from the Debian archive where they are missing and it is allowed (root, or sudo
# without a password). Where it is not, says so and succeeds: the tests of what is missing then skip, or fail where CI=true.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

missing=
for name in nginx haproxy tinyproxy chromium; do
  command -v "$name" >/dev/null || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then as_root="sudo -n"; fi
if ! command -v apt-get >/dev/null || ! $as_root true 2>/dev/null; then
  echo "not installed and cannot be:$missing (needs apt-get, and root or sudo)" >&2
  exit 0
fi
echo "installing$missing"
# RUNLEVEL=1 keeps the packages from starting their servers: the tests run their own, in the foreground.
env="DEBIAN_FRONTEND=noninteractive RUNLEVEL=1"
# shellcheck disable=SC2086  # both lists are meant to be split
{ $as_root env $env apt-get update && $as_root env $env apt-get install -y --no-install-recommends $missing; } >/dev/null </dev/null ||
  echo "apt-get could not install:$missing" >&2
