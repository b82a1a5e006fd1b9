"""A web server for checkpoints."""

import functools
import http.server
import threading

import pytest
import torch


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server: its URL and the folder that it serves. Downloads go to another folder."""
    (tmp_path / 'served').mkdir()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / 'served'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{running.server_port}', tmp_path / 'served'
        running.shutdown()
        thread.join()
