"""A small stand-in of the Hugging Face Hub on loopback: repositories of files, as `huggingface_hub` asks for them.

Answers what huggingface_hub 2.4, datasets 5.2 and transformers 5.23 were seen to ask: repository information, file trees, and
files by revision (HEAD with `ETag` and `X-Repo-Commit`, then GET). Everything else is 404, with the Hub's error codes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Repositories = dict[str, dict[str, bytes]]  # "models/<id>" or "datasets/<id>" -> file name -> content


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: Repositories
    asked: list[str]

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.asked.append(path)
        for repository, files in self.repositories.items():
            kind, name = repository.split("/", 1)
            if path.startswith(at := f"{name if kind == 'models' else repository}/resolve/"):
                return self._file(files, path.removeprefix(at).split("/", 1)[1])
            if path.startswith(at := f"api/{repository}/tree/"):
                return self._tree(files, "/".join(path.removeprefix(at).split("/")[1:]), "recursive=true" in self.path.lower())
            if path == f"api/{repository}" or path.startswith(f"api/{repository}/revision/"):
                siblings = [{"rfilename": file} for file in files]
                return self._json({"id": name, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})
        return self._answer(404, b"", X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def _file(self, files: dict[str, bytes], name: str) -> None:
        if name not in files:
            return self._answer(404, b"", X_Error_Code="EntryNotFound")
        return self._answer(200, files[name], ETag=f'"{hashlib.sha1(files[name]).hexdigest()}"')

    def _tree(self, files: dict[str, bytes], folder: str, recursive: bool) -> None:
        below = {name: name.removeprefix(f"{folder}/") if folder else name for name in files if name.startswith(folder)}
        shown = {name for name, rest in below.items() if recursive or "/" not in rest}
        folders = {name[: len(name) - len(rest)] + rest.split("/")[0] for name, rest in below.items() if name not in shown}
        if not below:
            return self._answer(404, b"", X_Error_Code="EntryNotFound")
        entries = [{"type": "file", "path": n, "size": len(files[n]), "oid": hashlib.sha1(files[n]).hexdigest()} for n in shown]
        return self._json(entries + [{"type": "directory", "path": n, "size": 0, "oid": "0" * 40} for n in sorted(folders)])

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), Content_Type="application/json")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"X_Repo_Commit": COMMIT, "Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@contextmanager
def hub(repositories: Repositories):
    """Serve repositories on a free port of loopback; gives the endpoint and the list of paths that were asked for."""
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"repositories": repositories, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
