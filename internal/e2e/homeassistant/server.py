"""Starts Home Assistants that have imported their modules already. Importing takes most of the processor time of a start.

The process runs in the root directory of an installation, with the temporary directory of the tests at /mnt. File descriptor 3 is a socket
that listens. A client sends the path of a configuration directory, with its standard output and standard error, then the numbers of
signals, and receives the exit code. A Home Assistant is killed when its client ends, and all are when standard input ends.
"""

import ctypes
import importlib
import os
import pkgutil
import selectors
import signal
import socket
import sys

# What the configuration of the tests sets up, and what that needs. What is missing is imported by each Home Assistant.
INTEGRATIONS = """
ai_task analytics api application_credentials assist_pipeline assist_satellite auth automation blueprint calendar camera caldav config
conversation device_automation diagnostics energy file_upload frontend group hardware hassio history homeassistant homeassistant_alerts http
image image_processing image_upload infrared input_boolean input_button input_datetime input_number input_select input_text intent
local_todo logbook logger media_source mqtt network notify onboarding persistent_notification person radio_frequency recorder
remote_calendar repairs scene schedule script search shopping_list stream stt sun system_health system_log template timer todo trace tts
webhook websocket_api zone
""".split()

MS_BIND, MS_REC = 0x1000, 0x4000


def preload() -> None:
    """Imports Home Assistant and every module of the integrations that can be imported."""

    def load(name: str):
        try:
            return importlib.import_module(name)
        except Exception:  # not in this version, or its requirements are not installed
            return None

    for name in ("__main__", "bootstrap", "runner"):
        importlib.import_module("homeassistant." + name)
    for name in INTEGRATIONS:
        package = load("homeassistant.components." + name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", []), f"homeassistant.components.{name}."):
            load(module.name)


def serve(listener: socket.socket) -> str:
    """Serves clients. Returns only in the process of a Home Assistant, with the path of its configuration."""
    selector = selectors.DefaultSelector()
    running, clients = set(), set()

    def start() -> str | None:
        client, _ = listener.accept()
        path, outputs, _, _ = socket.recv_fds(client, 4096, 2)
        if len(outputs) < 2:  # the client has ended
            client.close()
            return None
        out, err = outputs
        pid = os.fork()
        if pid == 0:
            null = os.open(os.devnull, os.O_RDONLY)
            for given, fd in ((null, 0), (out, 1), (err, 2)):
                os.dup2(given, fd)
                os.close(given)
            for other in clients | {client}:
                other.close()
            selector.close()
            return path.decode()
        for fd in outputs:
            os.close(fd)
        process = os.pidfd_open(pid)
        running.add(process)
        clients.add(client)

        def command() -> None:
            if client.fileno() < 0:  # it has just ended
                return
            number = client.recv(1)
            if number:
                signal.pidfd_send_signal(process, number[0])
                return
            selector.unregister(client)
            signal.pidfd_send_signal(process, signal.SIGKILL)

        def ended() -> None:
            _, status = os.waitpid(pid, 0)
            running.remove(process)
            selector.unregister(process)
            os.close(process)
            if client in selector.get_map():
                selector.unregister(client)
            try:
                client.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
            except OSError:  # it was killed
                pass
            clients.remove(client)
            client.close()

        selector.register(client, selectors.EVENT_READ, command)
        selector.register(process, selectors.EVENT_READ, ended)
        return None

    def stop() -> None:
        for process in running:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        sys.exit()

    selector.register(0, selectors.EVENT_READ, stop)
    selector.register(listener, selectors.EVENT_READ, start)
    while True:
        for key, _ in selector.select():
            if path := key.data():
                return path


def mount(source: str, target: str) -> None:
    """Mounts a directory for this process only."""
    os.unshare(os.CLONE_NEWNS)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), None, MS_BIND | MS_REC, None):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source}: {os.strerror(number)}")


preload()
with socket.socket(fileno=3) as sock:
    sock.setblocking(True)
    config = serve(sock)
mount(config, "/config")
sys.argv = ["hass", "--config", "/config", "--skip-pip", "--log-no-color"]
sys.exit(sys.modules["homeassistant.__main__"].main())
