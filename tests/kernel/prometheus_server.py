"""A real Prometheus in a namespace of the test bed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from monlat_ebpf.testbed.namespace import Namespace


class Prometheus:
    """The real one in `namespace`, with its data below `directory`, from entering to leaving the block.

    `targets` are of the job "monlat", or are scrape configurations by the name of their job. Two servers at once need
    two ports. Only one that stores native histograms asks for the protobuf format.
    """

    def __init__(
        self,
        namespace: Namespace,
        directory: Path,
        targets: list[str] | Mapping[str, Mapping[str, Any]],
        *,
        port: int = 9090,
        native_histograms: bool = False,
        rules: Sequence[Path] = (),
    ) -> None:
        self._namespace = namespace
        self._directory = directory / f"prometheus-{port}"
        self._directory.mkdir()
        self._port = port
        self._features = ["--enable-feature=native-histograms"] if native_histograms else []
        jobs = {"monlat": {"static_configs": [{"targets": targets}]}} if isinstance(targets, list) else targets
        configuration = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": name, **job} for name, job in jobs.items()],
            "rule_files": [str(file) for file in rules],
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
        return {
            (series["metric"]["from"], series["metric"]["to"]): float(series["value"][1])
            for series in self._ask("query", query=expression).get("result", ())
        }

    def last_seconds(self, expression: str, seconds: float) -> list[dict[str, Any]]:
        """Answer `expression` at each of the last `seconds`: a list of series, as the API of Prometheus has them."""
        now = time.time()
        asked = {"query": expression, "start": now - seconds, "end": now, "step": 1}
        series: list[dict[str, Any]] = self._ask("query_range", **asked).get("result", [])
        return series

    def label_values(self, label: str, selector: str) -> list[str]:
        """Return the values of a label among the series of `selector`."""
        values: list[str] = self._ask(f"label/{label}/values", **{"match[]": selector}) or []
        return values

    def _ask(self, path: str, **parameters: object) -> Any:
        assert self._process.poll() is None, self.log()
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            with self._namespace.entered():
                connection.connect()
            connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
            answer: dict[str, Any] = json.load(connection.getresponse())
        except (ConnectionError, json.JSONDecodeError):  # "Service Unavailable" is no JSON
            return {}
        finally:
            connection.close()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def log(self) -> str:
        return (self._directory / "prometheus.log").read_text()
