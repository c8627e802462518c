#!/bin/bash
# Installs Microsoft's sign-in library for Python: an independent client of the simulator.
#
#   install.sh DIR   requires Python 3.9 or newer with venv
#
# DIR/venv/bin/python imports it, and DIR/version holds its version. An installation by the same script is kept.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "${1:?a directory}" && cd "$1" && pwd)
version=1.39.0

# works reports whether the library can be imported.
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
