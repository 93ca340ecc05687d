"""A real Prometheus in a namespace of the test bed."""

from __future__ import annotations

import json
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from monlat_ebpf.testbed.namespace import Namespace


class Prometheus:
    """The real one in `namespace`, with its data below `directory`, from entering to leaving the block.

    Two at once need two ports. Only one that stores native histograms asks for the protobuf format.
    """

    def __init__(
        self,
        namespace: Namespace,
        directory: Path,
        targets: list[str],
        *,
        port: int = 9090,
        native_histograms: bool = False,
    ) -> None:
        self._namespace = namespace
        self._directory = directory / f"prometheus-{port}"
        self._directory.mkdir()
        self._port = port
        self._features = ["--enable-feature=native-histograms"] if native_histograms else []
        configuration = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "monlat", "static_configs": [{"targets": targets}]}],
        }
        (self._directory / "prometheus.json").write_text(json.dumps(configuration))  # JSON is YAML

    def __enter__(self) -> Prometheus:
        with (self._directory / "prometheus.log").open("wb") as log:
            self._process = self._namespace.popen(
                [
                    "prometheus",
                    f"--config.file={self._directory}/prometheus.json",
                    f"--storage.tsdb.path={self._directory}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    *self._features,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def query(self, expression: str) -> dict[tuple[str, str], float]:
        """Answer `expression`, whose values are numbers, by (from, to); nothing while Prometheus is not up yet."""
        assert self._process.poll() is None, (self._directory / "prometheus.log").read_text()
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            with self._namespace.entered():
                connection.connect()
            connection.request("GET", f"/api/v1/query?query={quote(expression)}")
            answer: dict[str, Any] = json.load(connection.getresponse())
        except (ConnectionError, json.JSONDecodeError):  # "Service Unavailable" is no JSON
            return {}
        finally:
            connection.close()
        assert answer["status"] == "success", answer
        return {
            (series["metric"]["from"], series["metric"]["to"]): float(series["value"][1])
            for series in answer["data"]["result"]
        }
