#!/usr/bin/env bash
# Installs the Chromium that tests/browser drives, from Debian's packages; as root, again at no cost.
set -euo pipefail
command -v chromium chromedriver >/dev/null && exit
[ "$(id -u)" = 0 ] || { echo "install.sh: root is needed to install chromium and chromium-driver" >&2; exit 1; }
command -v apt-get >/dev/null || { echo "install.sh: no apt-get: install chromium and chromedriver yourself" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends chromium chromium-driver
