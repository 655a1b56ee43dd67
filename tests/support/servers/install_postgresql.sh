#!/bin/sh
# Installs PostgreSQL's binaries for the tests if they are missing and this is root on Debian; the
# tests make their own cluster, so no system-wide one is created or started.
set -eu

if command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "PostgreSQL is not installed: its tests are skipped (Debian: apt-get install postgresql)." >&2
    exit 0
fi
echo "Installing PostgreSQL for the tests …"
settings=/etc/postgresql-common/createcluster.conf
if [ ! -e "$settings" ]; then
    mkdir -p "$(dirname "$settings")"
    echo "create_main_cluster = false" >"$settings"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends -o Dpkg::Options::=--force-confold postgresql >/dev/null
