#!/bin/bash
# Installs a real Home Assistant for tests, with the requirements of its MQTT integration and its frontend.
#
#   install.sh older  DIR   2025.4.4 with Python 3.13, the oldest supported version
#   install.sh newest DIR   2026.11.0 with Python 3.14
#
# Both run in a chroot with the Debian release that has their Python; this requires root. (Python 3.13.0, which some machines have, loses
# default values in the validation of MQTT discovery now and then.)
#
# DIR/hass CONFIG_DIR runs it in the foreground, and DIR/version holds its version. An installation by the same script is kept;
# comments do not count.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=${1:?older or newest}
dir=$(mkdir -p "${2:?a directory}" && cd "$2" && pwd)
certificates=/etc/ssl/certs/ca-certificates.crt

# The integrations that the tests use. Since 2026 MQTT loads every entity platform it knows, so it needs their requirements, too.
integrations=(frontend api mqtt recorder history logbook system_log automation script scene template blueprint person zone
	input_boolean input_button input_datetime input_number input_select input_text
	calendar todo local_todo shopping_list notify persistent_notification caldav remote_calendar)
newer=(hassio camera stream conversation ai_task image_processing tts stt media_source assist_pipeline assist_satellite
	infrared radio_frequency)

# works reports whether the installed Home Assistant runs.
works() { [[ -x $dir/hass ]] && "$dir/hass" --version >/dev/null 2>&1; }

stamp=$(grep -hv '^[[:space:]]*#' "$here/install.sh" "$here/requirements.py" | sha256sum)
exec {lock}>"$dir/lock"
flock "$lock"
if [[ $(cat "$dir/stamp" 2>/dev/null) == "$stamp" ]] && works; then
	echo "Home Assistant $(<"$dir/version"): kept"
	exit
fi
rm -rf "$dir"/{stamp,uv,venv,root}

constraints=()
case $name in
older)
	version=2025.4.4 release=trixie python=python3.13
	constraints=('pyparsing<3.3') # the parser of remote_calendar breaks with 3.3
	;;
newest)
	version=2026.11.0 release=forky python=python3.14
	integrations+=("${newer[@]}")
	;;
*)
	echo "want older or newest, not \"$name\"" >&2
	exit 2
	;;
esac

if ! command -v debootstrap >/dev/null; then
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 debootstrap >/dev/null
fi
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ' || true)
debootstrap --variant=minbase \
	--include="$python,$python-venv,$python-dev,g++,ca-certificates,tzdata,libturbojpeg0,ffmpeg" \
	"$release" "$dir/root" "${mirror:?want a Debian mirror in /etc/apt}" /usr/share/debootstrap/scripts/sid >"$dir/debootstrap.log"
cp /etc/resolv.conf "$dir/root/etc/resolv.conf"
cp "$certificates" "$dir/root$certificates"
cp "$here/requirements.py" "$dir/root/opt"
inside() {
	chroot "$dir/root" env HOME=/root LANG=C.UTF-8 SSL_CERT_FILE="$certificates" PIP_CERT="$certificates" PATH=/opt/hass/bin:/usr/bin:/bin "$@"
}
inside "$python" -m venv /opt/hass
inside pip install --quiet --disable-pip-version-check uv
install() { inside uv --quiet pip install --python /opt/hass/bin/python "$@"; }
install "homeassistant==$version" colorlog
inside python /opt/requirements.py "${integrations[@]}" >"$dir/root/opt/requirements.txt"
# Without bytecode each start compiles all modules, where the environment forbids Python to store it. That doubles its time.
install --compile-bytecode --requirement /opt/requirements.txt "${constraints[@]}"
mkdir "$dir/root/config"
# The mounts are in their own namespace and end with the process.
cat >"$dir/hass" <<-'RUN'
	#!/bin/sh
	root="$(dirname "$0")/root"
	inside="env HOME=/root LANG=C.UTF-8 /opt/hass/bin/hass"
	case $1 in --version) exec chroot "$root" $inside --version ;; esac
	exec unshare --mount sh -c 'mount -t proc proc "$0/proc" && mount --bind "$1" "$0/config" &&
		exec chroot "$0" '"$inside"' --config /config --skip-pip --log-no-color' "$root" "$1"
RUN
chmod +x "$dir/hass"
works || { echo "Home Assistant $version is installed but does not run: $dir/hass --version" >&2; exit 1; }
echo "$version" >"$dir/version"
echo "$stamp" >"$dir/stamp"
echo "Home Assistant $version: installed"
