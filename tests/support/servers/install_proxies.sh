#!/bin/sh
# Installs nginx and Caddy for the tests of their server blocks, each if it is missing and this is root on Debian; the
# tests start their own, so none is started as a service.
set -eu

missing=""
command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
command -v caddy >/dev/null 2>&1 || missing="$missing caddy"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Not installed, so their tests are skipped (Debian: apt-get install$missing)." >&2
    exit 0
fi
echo "Installing$missing for the tests …"
# What Debian's packages ask before they start a service; 101 is "no".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
for package in $missing; do
    apt-get install -qq --yes --no-install-recommends "$package" >/dev/null || echo "$package can't be installed: its tests are skipped." >&2
done
# Nor with the next start of the machine.
if command -v systemctl >/dev/null 2>&1; then
    systemctl --quiet disable nginx.service caddy.service >/dev/null 2>&1 || true
fi
