# Functions that run an image as Docker and Home Assistant would, but without an engine: the root file system read-only, no capabilities, no
# new privileges. They need root, a mount namespace of their own, and $scratch and $mounts of lib.sh.

buildah=(buildah --root "$scratch/storage" --runroot "$scratch/runroot" --storage-driver vfs)

# unpack NAME makes the root file system of an image at $root, read-only, with the directories $data and $config of the container.
unpack() {
	local container
	"${buildah[@]}" pull --quiet "docker-archive:dist/image-$1-amd64.tar" >"$scratch/id"
	container=$("${buildah[@]}" from --quiet --pull-never "$(cat "$scratch/id")")
	root=$("${buildah[@]}" mount "$container")
	data=$scratch/data-$1
	cp --archive "$root/data" "$data" # a new volume begins as a copy
	config=$scratch/config-$1
	mkdir -p "$config"
	mount --bind "$root" "$root"
	mounts+=("$root")
	mount -o remount,bind,ro "$root"
	mount --bind "$data" "$root/data"
	mount --bind "$config" "$root/config"
	"${buildah[@]}" inspect --type image "$(cat "$scratch/id")" >"$scratch/$1.json"
}

# inside USER VARIABLE... -- ARGUMENT... runs the program of the image as a user.
inside() {
	local user=$1 variables=()
	shift
	while [[ $1 != -- ]]; do
		variables+=("$1")
		shift
	done
	shift
	exec env -i PATH=/usr/bin STATE_DIRECTORY=/data GRAPH2MQTT_CONFIG=/config/graph2mqtt.yaml TZ=Europe/Berlin "${variables[@]}" \
		setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \
		/usr/sbin/chroot --userspec="$user:$user" --groups= "$root" /usr/bin/graph2mqtt "$@"
}

# write_options JSON makes $data what the Supervisor of Home Assistant makes of it: its directory, with the options of the app.
write_options() {
	chown 0:0 "$data"
	chmod 755 "$data"
	printf '%s' "$1" >"$data/options.json"
	chmod 600 "$data/options.json"
}

# name_supervisor ADDRESS gives the Supervisor the name that it has for apps.
name_supervisor() {
	printf '%s supervisor\n' "$1" >"$scratch/hosts"
	printf '' >"$scratch/resolv.conf"
	mount -o remount,bind,rw "$root"
	touch "$root/etc/hosts" "$root/etc/resolv.conf"
	mount -o remount,bind,ro "$root"
	mount --bind "$scratch/hosts" "$root/etc/hosts"
	mount --bind "$scratch/resolv.conf" "$root/etc/resolv.conf"
}
