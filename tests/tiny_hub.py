"""A hub on this machine: as much of the protocol of huggingface.co as downloading a model takes."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class TinyHub:
    """`models` maps hub ids to their files; `refusals` hub ids to (status, X-Error-Code). `asked` are the downloads."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(hub: TinyHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0].strip("/")
            hub_id = "/".join(path.removeprefix("api/models/").split("/")[:2])
            files = hub.models.get(hub_id, {})
            api = path.startswith("api/models/")
            if hub_id in hub.refusals and not (api and hub.refusals[hub_id][1] == "GatedRepo"):
                status, code = hub.refusals[hub_id]
                self.send(status, b"{}", body, {"X-Error-Code": code})
            elif hub_id not in hub.models:
                self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
            elif api and "/tree/" in path:
                rows = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()]
                self.send(200, json.dumps(rows).encode(), body)
            elif api:
                siblings = [{"rfilename": name} for name in files]
                info = {"id": hub_id, "modelId": hub_id, "sha": COMMIT, "siblings": siblings}
                self.send(200, json.dumps(info).encode(), body)
            else:
                name = path.split("/resolve/", 1)[1].split("/", 1)[1]
                data = files[name]
                if body:
                    hub.asked.append(name)
                etag = hashlib.sha256(data).hexdigest()
                self.send(200, data, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

        def send(self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
