"""A fake of Home Assistant's Supervisor: the broker that its apps use. Usage: supervisor.py ADDRESS PORT BROKER-PORT"""

import http.server
import json
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers["Authorization"] != "Bearer token":
            self.answer(403, "text/plain", b"403: Forbidden")
        elif self.path == "/services/mqtt":
            broker = {"host": "127.0.0.1", "port": int(sys.argv[3]), "username": "ann", "password": "pw", "protocol": "3.1.1", "ssl": False, "addon": "core_mosquitto"}
            self.answer(200, "application/json", json.dumps({"result": "ok", "data": broker}).encode())
        else:
            self.answer(404, "text/plain", b"404: Not Found")

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
