#!/bin/sh
# Installs RabbitMQ for the tests if it is missing and this is root on Debian; the tests start their own
# node, so no system-wide broker and no system-wide epmd (Erlang's port mapper) is started.
set -eu

if command -v rabbitmq-server >/dev/null 2>&1 || [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "RabbitMQ is not installed: its tests are skipped (Debian: apt-get install rabbitmq-server)." >&2
    exit 0
fi
echo "Installing RabbitMQ for the tests …"
# What Debian's packages ask before they start a service; 101 is "no".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends rabbitmq-server >/dev/null
# Nor with the next start of the machine.
if command -v systemctl >/dev/null 2>&1; then
    systemctl --quiet disable rabbitmq-server.service epmd.socket epmd.service >/dev/null 2>&1 || true
fi
