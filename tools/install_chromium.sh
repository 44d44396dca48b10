#!/usr/bin/env bash
# Installs Chromium and its driver with apt-get, for the tests that drive a browser
# (pytest -m browser). For Debian, and as root: sudo tools/install_chromium.sh
set -euo pipefail

die() { printf 'error: %s\n' "$*" >&2; exit 2; }

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    echo "already here: $(chromium --version)"
    exit
fi
command -v apt-get >/dev/null || die 'there is no apt-get: install chromium and chromedriver otherwise'
[ "$(id -u)" = 0 ] || die 'apt-get needs root: sudo tools/install_chromium.sh'
echo 'Installing the packages chromium and chromium-driver'
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends chromium chromium-driver
chromium --version
