# Functions of the installation tests. Each test installs graph2mqtt in one way, signs in to the simulated Microsoft 365, and runs the
# bridge with Mosquitto until its switch is available. They need root, Mosquitto with its clients, curl and Python.

graph2mqtt=$PWD/dist/graph2mqtt-linux-amd64 # runs the simulator
scratch=$(mktemp -d)
chmod 755 "$scratch"
pids=()
mounts=() # to be undone, with what is mounted below

# cleanup ends the processes of the test. A test adds to it.
cleanup() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	wait
	local dir
	for dir in "${mounts[@]}"; do
		umount --recursive "$dir"
	done
}
trap 'code=$?; cleanup; ((code == 0)) || tail -n 30 "$scratch"/*.log; rm -rf "$scratch"; exit $code' EXIT

fail() {
	printf 'FAILED: %s\n' "$*"
	exit 1
}

# start NAME COMMAND... starts a process whose output is in NAME.log; its id is in $started.
start() {
	local name=$1
	shift
	: >"$scratch/$name.log" # before the process runs, or what follows might find what an earlier one wrote
	"$@" >>"$scratch/$name.log" 2>&1 &
	started=$!
	pids+=("$started")
}

# await WHAT COMMAND... waits until a command succeeds.
await() {
	local what=$1 end=$((SECONDS + 60))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || fail "waited in vain for $what"
		sleep 0.05
	done
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_servers starts Mosquitto with the user ann (password pw) on $port and the simulator, whose settings are in $scratch/microsoft.json.
start_servers() {
	port=$(free_port)
	mosquitto_passwd -b -c "$scratch/passwords" ann pw
	chown mosquitto "$scratch/passwords"
	printf 'listener %s 127.0.0.1\npassword_file %s\n' "$port" "$scratch/passwords" >"$scratch/mosquitto.conf"
	start mosquitto mosquitto -c "$scratch/mosquitto.conf"
	start microsoft "$graph2mqtt" simulate --addr 127.0.0.1:0 --ca-file "$scratch/ca.pem" --json
	await 'the simulator' test -s "$scratch/ca.pem"
	await 'its settings' python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$scratch/microsoft.log"
}

# configuration [BROKER-LINES] prints a configuration with one account. Its CA file is /config/ca.pem or what CA_FILE names.
configuration() {
	python3 - "$scratch/microsoft.log" "${CA_FILE:-/config/ca.pem}" "$1" <<'PYTHON'
import json, sys
m = json.load(open(sys.argv[1]))
print(f"""{sys.argv[3]}
accounts:
  work:
    client_id: {m["client_id"]}
    cloud: {{login: "{m["login"]}", graph: "{m["graph"]}", audience: "{m["audience"]}", ca_file: "{sys.argv[2]}"}}
    enable_update: true
    sensors:
      out_of_office: {{type: auto_reply}}""")
PYTHON
}

# sign_in LOG opens the link that `graph2mqtt login` printed, like a browser.
sign_in() {
	await 'the link' grep -q '^https://.*authorize' "$1"
	curl --silent --show-error --location --max-time 30 --cacert "$scratch/ca.pem" "$(grep '^https://.*authorize' "$1")" >/dev/null
}

# is_online reports whether the newest message on a topic is online.
is_online() { [[ $(mosquitto_sub -h 127.0.0.1 -p "$port" -u ann -P pw -W 5 -C 1 -t "graph2mqtt/$1") == online ]]; }

# online waits until the switch of the account is available.
online() {
	local topic
	for topic in bridge/state work/out_of_office/availability work/out_of_office/commands; do
		await "graph2mqtt/$topic" is_online "$topic"
	done
}

# stop PID NAME ends a bridge and checks its exit code.
stop() {
	kill "$1"
	wait "$1" || fail "$2 ended with $?"
}
