#!/bin/sh
# Makes an environment for tests beside .venv, and installs it again when the dependencies have changed:
#   install_environment.sh FOLDER UV_PYTHON PYTHON RESOLUTION
# UV_PYTHON has uv; PYTHON is the interpreter; RESOLUTION is highest, or lowest-direct for the lowest versions.
set -eu
folder=$1 uv_python=$2 python=$3 resolution=$4
ranges=.ci/distributions/dependencies.txt
stamp=$folder/.installed
if [ -e "$stamp" ] && [ "$stamp" -nt "$ranges" ] && [ "$stamp" -nt pyproject.toml ]; then
    exit 0
fi
echo "Installing into $folder (a minute the first time) …"
rm -rf "$folder"
"$uv_python" -m uv venv --quiet --python "$python" "$folder"
"$uv_python" -c 'import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]
print(*extras["test"], sep="\n")' |
    "$uv_python" -m uv pip install --quiet --python "$folder/bin/python" --resolution "$resolution" \
        -r "$ranges" -r -
"$uv_python" -m uv pip install --quiet --python "$folder/bin/python" --no-deps --editable .
touch "$stamp"
