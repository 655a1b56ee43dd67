#!/bin/sh
# Installs Chromium for the browser tests if no browser is there and this is root on Debian.
set -eu

for browser in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$browser" >/dev/null 2>&1; then
        exit 0
    fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Chromium is not installed: its tests are skipped (Debian: apt-get install chromium)." >&2
    exit 0
fi
echo "Installing Chromium for the tests …"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends chromium fonts-dejavu-core >/dev/null
