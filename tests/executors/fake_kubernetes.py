"""A Kubernetes API for one machine: pods are kept as asked for, and run as local processes."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Cluster:
    """Serves the calls that Nextflow makes; `pods` holds every pod's manifest, in order."""

    def __init__(self, environment):
        self.pods, self._processes, self._environment = [], {}, environment
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def create(self, pod):
        container = pod["spec"]["containers"][0]
        command = [*container.get("command", []), *container.get("args", [])]
        variables = {v["name"]: v["value"] for v in container.get("env", []) if "value" in v}
        with self._lock:
            self.pods.append(pod)
            self._processes[pod["metadata"]["name"]] = subprocess.Popen(
                command, env=self._environment | variables, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self.status(pod["metadata"]["name"])

    def status(self, name):
        """The pod as the API tells of it; None if there is none."""
        with self._lock:
            process = self._processes.get(name)
            pod = next((p for p in self.pods if p["metadata"]["name"] == name), None)
        if process is None:
            return None
        code = process.poll()
        if code is None:
            phase, state = "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        else:
            code = code if code >= 0 else 128 - code
            phase = "Failed" if code else "Succeeded"
            state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed",
                                    "startedAt": "2026-01-01T00:00:00Z",
                                    "finishedAt": "2026-01-01T00:00:01Z"}}  # fmt: skip
        status = {"name": name, "ready": code is None, "state": state}
        return pod | {"status": {"phase": phase, "containerStatuses": [status]}}

    def delete(self, name):
        with self._lock:
            process = self._processes.get(name)
        if process and process.poll() is None:
            process.kill()


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def _answer(self, body, code=200):
        body = json.dumps(body if body is not None else {"kind": "Status", "code": 404}).encode()
        self.send_response(404 if body.startswith(b'{"kind": "Status"') else code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _name(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        return parts[parts.index("pods") + 1]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.cluster.create(json.loads(body)), 201)

    def do_GET(self):
        self._answer(self.cluster.status(self._name()))

    def do_DELETE(self):
        self.cluster.delete(self._name())
        self._answer({"kind": "Pod"})

    def log_message(self, *_):
        """Nothing on the terminal."""
