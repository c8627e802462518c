#!/bin/bash
# Installs Microsoft's own sign-in library for Python, as a client of the simulator that shares no line with the program.
#
#   install.sh DIR   wants Python 3.9 or newer with venv
#
# Afterwards DIR/venv/bin/python has it, and DIR/version says which it is.
# What an earlier run of this same script installed in DIR is kept.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "${1:?a directory}" && cd "$1" && pwd)
version=1.39.0

# Imports it, just to see whether it is there.
works() { "$dir/venv/bin/python" -c 'import msal, requests' 2>/dev/null; }

stamp=$(sha256sum <"$here/install.sh")
exec {lock}>"$dir/lock"
flock "$lock"
if [[ $(cat "$dir/stamp" 2>/dev/null) == "$stamp" ]] && works; then
	echo "MSAL Python $(<"$dir/version"): kept"
	exit
fi
rm -rf "$dir"/{stamp,venv}
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check "msal==$version" requests
works || { echo "MSAL Python $version is installed but cannot be imported" >&2; exit 1; }
echo "$version" >"$dir/version"
echo "$stamp" >"$dir/stamp"
echo "MSAL Python $version: installed"
