#!/usr/bin/env python3
"""Writes everything that an operation with pages returns to a file, one JSON object per line.

    python3 import.py work/calendar list '{"start": "2016-01-01", "end": "2026-01-01"}' events.jsonl -h 192.168.1.10 -u USER -P PASSWORD

The arguments are the account and the sensor, the operation, the fields of the request, the file, and options of mosquitto_rr.
Only one page is in memory at a time. If the import is interrupted, run the same command again within 24 hours: it goes on after the
last complete page. It needs Python 3.8 or later, and mosquitto_rr and mosquitto_sub of Mosquitto's clients.
"""

import json
import os
import subprocess
import sys
import time
import uuid

BASE = os.environ.get("GRAPH2MQTT_BASE", "graph2mqtt")  # mqtt.base_topic
ATTEMPTS = 5
PAUSE = 10  # seconds between two attempts, unless the response has more


def check_sensor(sensor, options):
    """Ends the program if the broker does not have the sensor's topics: no response to a request would come."""
    topic = f"{BASE}/{sensor}/availability"
    command = ["mosquitto_sub", "-q", "1", "-W", "10", "-C", "1", "-t", topic, *options]
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE)
    except FileNotFoundError:
        sys.exit("mosquitto_sub is not installed; it is one of the clients of Mosquitto")
    if result.returncode not in (0, 27):  # 27: the time is over
        sys.exit("mosquitto_sub failed; its message is above")
    if not result.stdout.strip():
        sys.exit(f"{sensor}: the broker has nothing on {topic}; want an account and a sensor, as in work/calendar")


def ask(sensor, operation, fields, options):
    """Returns the response to a request, or None if there is none."""
    transaction = str(uuid.uuid4())
    topic = f"{BASE}/{sensor}/%s/{operation}"
    command = ["mosquitto_rr", "-q", "1", "-W", "120", "-t", topic % "request", "-e", topic % "response",
               "-m", json.dumps({**fields, "transaction": transaction}), *options]
    try:
        output = subprocess.run(command, stdout=subprocess.PIPE).stdout
    except FileNotFoundError:
        sys.exit("mosquitto_rr is not installed; it is one of the clients of Mosquitto")
    response = json.loads(output) if output.strip() else {}
    # Another program may have asked at the same time.
    return response if response.get("transaction") == transaction else None


def page(sensor, operation, fields, options):
    """Returns the response with a page. It tries again where that may help."""
    error = "no response; is graph2mqtt running?"
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause)
        pause = PAUSE
        response = ask(sensor, operation, fields, options)
        if response is None:
            continue
        if response["status"] == "ok":
            return response
        error = response["error"]["message"]
        if error.startswith("cursor: unknown field"):
            sys.exit(f"{sensor} {operation}: this operation has no pages to import; ask for it once with mosquitto_rr")
        if response["error"]["code"] == "expired" and fields.get("cursor"):
            return None
        if not response["error"]["retryable"]:
            break
        pause = max(PAUSE, response["error"]["retry_after"])
    sys.exit(f"{sensor} {operation}: {error}")


def save(path, state):
    """Writes the state so that it is complete even after a power failure."""
    with open(path + ".new", "w") as f:
        json.dump(state, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".new", path)


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    sensor, operation, request, path, *options = sys.argv[1:]
    try:
        request = dict(json.loads(request))
    except (TypeError, ValueError):
        sys.exit(f"fields: want a JSON object, such as {{}}, not {request}")
    first = {"request": [sensor, operation, request], "cursor": None, "size": 0}
    saved, state = path + ".state", first
    if os.path.exists(saved):
        with open(saved) as f:
            state = json.load(f)
        if state["request"] != first["request"] and state["cursor"] is None:
            # Nothing was imported yet, for example because the request was wrong.
            state = first
            save(saved, state)
        elif state["request"] != first["request"]:
            sys.exit(f"{path}: it belongs to another request; give the name of a new file")
    elif os.path.exists(path):
        sys.exit(f"{path}: it exists; give the name of a new file")
    else:
        save(saved, state)
    check_sensor(sensor, options)
    with open(path, "ab") as out:
        while True:
            out.truncate(state["size"])  # what follows is of a page that was not complete
            response = page(sensor, operation, {**request, "cursor": state["cursor"]}, options)
            if response is None:
                print("the import was interrupted for too long and begins again", file=sys.stderr)
                state = first
                continue
            items = next(v for v in response["data"].values() if isinstance(v, list))
            for item in items:
                out.write(json.dumps(item, ensure_ascii=False).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
            if not response.get("cursor"):
                break
            state = {**first, "cursor": response["cursor"], "size": out.tell()}
            save(saved, state)
    os.remove(saved)


main()
