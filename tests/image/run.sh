#!/usr/bin/env bash
# Builds docker/Dockerfile with buildah, and runs what came of it: no daemon, no registry. Root; downloads are Debian's and pip's.
# The base is made here by debootstrap, of the release that the Dockerfile names; BASE=IMAGE takes another one.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/var/image
mkdir -p "$work"
storage=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
buildah() { command buildah "${storage[@]}" "$@"; }
trap 'buildah rm --all >/dev/null 2>&1 || true; rm -rf "$work/base" "$work/data"' EXIT

if [ -z "${BASE:-}" ]; then
  BASE=localhost/picloud-base
  if ! buildah inspect --type image "$BASE" >/dev/null 2>&1; then
    debootstrap --variant=minbase bookworm "$work/base" http://deb.debian.org/debian >"$work/debootstrap.log"
    container=$(buildah from scratch)
    buildah add -q "$container" "$work/base" / >/dev/null
    buildah commit -q "$container" "$BASE" >/dev/null
    rm -rf "$work/base"
  fi
fi

# pip inside asks the index that pip outside asks
buildah build --isolation chroot --network host --build-arg "BASE=$BASE" -f docker/Dockerfile -t localhost/picloud \
  $(tests/image/pip-options.sh) .
exec "${PYTHON:-.venv/bin/python}" -m tests.image "$work"
