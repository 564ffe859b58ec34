#!/usr/bin/env bash
# Builds docker/Dockerfile with buildah and runs what came of it: no daemon and no registry, root is needed. Downloads are
# Debian's and pip's; debootstrap makes the base (BASE=IMAGE takes another one). What was made is kept in var/image.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/var/image
port=$((15000 + RANDOM % 15000))
up=
mkdir -p "$work"

buildah() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
say() { printf '%-60s %s\n' "$1" "$2"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
inside() { # a command in the container, on the machine's network and with the volume
  buildah run --isolation oci --runtime runc --network host --env "PICLOUD_BIND=127.0.0.1:$port" \
    --volume "$work/data:/var/lib/picloud" "$container" -- "$@"
}
first_process() { # of the running container, as the machine counts: in there it is the pid in the lock
  for folder in /proc/[0-9]*; do
    if grep -qsxz "PICLOUD_BIND=127.0.0.1:$port" "$folder/environ" \
      && [ "$(awk '/^NSpid:/ {print $NF}' "$folder/status")" = "$(cat "$work/data/lock")" ]; then
      basename "$folder"
      return
    fi
  done
}
begin() { # picloud up, until it answers
  inside picloud up >"$work/up.log" 2>&1 &
  up=$!
  for _ in $(seq 600); do
    if grep -q '^Ctrl-C' "$work/up.log"; then return; fi
    kill -0 "$up" 2>/dev/null || fail "picloud up ended: $(cat "$work/up.log")"
    sleep 0.2
  done
  fail "picloud up says nothing: $(cat "$work/up.log")"
}
end() { # as an engine stops it: its first process gets the image's signal
  kill -s "$(image '{{.Docker.Config.StopSignal}}')" "$(first_process)"
  wait "$up" || fail "it ended with $?"
  up=
}
image() { buildah inspect --type image --format "$1" localhost/picloud; }
cleaned() {
  if [ -n "$up" ]; then
    kill -s TERM "$(first_process)" && wait "$up" || true
  fi
  buildah rm --all >/dev/null || true
  rm -rf "$work/base" "$work/data"
}
trap cleaned EXIT
cleaned
install -d -m 0700 -o 10001 -g 10001 "$work/data"

if [ -z "${BASE:-}" ]; then
  BASE=localhost/picloud-base
  if ! buildah inspect --type image "$BASE" >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" >"$work/debootstrap.log"
    made=$(buildah from scratch)
    buildah add -q "$made" "$work/base" / >/dev/null
    buildah commit -q --rm "$made" "$BASE" >/dev/null
  fi
fi

# pip inside asks whom pip outside asks, and trusts whom this machine trusts; nothing of it stays in the image
printf '[global]\ncert = /machines-certificates.crt\n%s' "${PIP_INDEX_URL:+index-url = $PIP_INDEX_URL
}" >"$work/pip.conf"
buildah build -q --format docker --isolation chroot --network host --layers --build-arg "BASE=$BASE" \
  --volume /etc/ssl/certs/ca-certificates.crt:/machines-certificates.crt:ro --volume "$work/pip.conf:/etc/pip.conf:ro" \
  -f docker/Dockerfile -t localhost/picloud . >"$work/build.log" 2>&1 || fail "$(tail -20 "$work/build.log")"
say "the image is built" "$(buildah images --format '{{.Size}}' localhost/picloud)"

# as Docker's profile has it: namespaces are for those who have CAP_SYS_ADMIN
python3 - /usr/share/containers/seccomp.json >"$work/seccomp.json" <<'PYTHON'
import json, sys

profile = json.load(open(sys.argv[1]))
for rule in profile["syscalls"]:
    if rule["action"] == "SCMP_ACT_ALLOW":
        rule["names"] = [name for name in rule["names"] if name not in ("clone", "clone3", "unshare", "setns", "mount")]
profile["syscalls"] = [rule for rule in profile["syscalls"] if rule["names"]]
flags = {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
profile["syscalls"].append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags]})
profile["syscalls"].append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38})
json.dump(profile, sys.stdout)
PYTHON

container=$(buildah from localhost/picloud)
inside picloud doctor >"$work/doctor.txt"
[ "$(awk '$2 != "ok"' "$work/doctor.txt")" = "" ] || fail "a layer is missing under Podman's profile: $(cat "$work/doctor.txt")"
say "under Podman's seccomp profile every layer is there" "$(wc -l <"$work/doctor.txt") of them"
buildah rm "$container" >/dev/null

container=$(buildah from --security-opt "seccomp=$work/seccomp.json" localhost/picloud)
root=$(buildah mount "$container")
left=$(find "$root" -xdev \( -name '*.token' -o -name 'secret.key' -o -path "$root/src" -o -name pip.conf -size +0 -o -name .git \
  -o -path "$root/var/lib/apt/lists/*" -o -path "$root/root/.cache" \) ! -path '*/site-packages/*')
[ -z "$left" ] || fail "what does not belong there is in the image: $left"
say "no token, key, source tree or package list is in it" ok

[ "$(inside id -un)" = picloud ] || fail "it runs as $(inside id -un)"
say "it runs as an ordinary user" "$(inside id)"

begin
grep -q 'is up' "$work/up.log"
inside sh -c 'echo "return function() return kv.incr(\"calls\") end" > /tmp/calls.lua && picloud deploy /tmp/calls.lua' | tail -1
[ "$(curl -fsS "http://127.0.0.1:$port/fn/calls")" = 1 ] || fail "the script does not answer"
say "picloud up serves a script" ok
check=$(image '{{range $at, $word := .Docker.Config.Healthcheck.Test}}{{if $at}}{{$word}} {{end}}{{end}}')
inside sh -c "${check//8080/$port}" || fail "the health check fails: $check"
say "its health check is content" "$check"
inside picloud doctor | tee "$work/doctor.txt"
missing=$(awk '$2 == "weaker" {print $1}' "$work/doctor.txt" | sort)
said=$(sed -n 's/^| `\([a-z-]*\)` |.*/\1/p' docs/container.md | sort)
[ "$missing" = "$said" ] || fail "docs/container.md says that these are missing:" $said "; and these are:" $missing
say "under one like Docker's those are missing that the docs say" "$(wc -w <<<"$missing") of them"
inside picloud backup /var/lib/picloud/it.picloud
end
begin
[ "$(curl -fsS "http://127.0.0.1:$port/fn/calls")" = 2 ] || fail "the volume does not keep what a script keeps"
say "stopped and started again, the volume kept everything" ok
end
inside picloud restore /var/lib/picloud/it.picloud --replace --yes
begin
[ "$(curl -fsS "http://127.0.0.1:$port/fn/calls")" = 2 ] || fail "the backup does not restore what was"
end
say "backed up while it served, and restored" ok
