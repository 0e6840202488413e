"""The thread between a journal and MLflow: a server that is slow or away holds nothing up."""

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from legalqa.tracking.journal import Event, Journal
from legalqa.tracking.sender import Sender, out_of_reach, say
from legalqa.tracking.store import connect, tracking_folder, tracking_uri

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds between two tries while the store is away
LAST_WAIT = (
    120.0  # seconds that the end of a stage waits for a store that is slow; it waits for no second try of one that fails
)
SYSTEM_EVERY = 10.0  # seconds between two looks at processor and memory


class Courier(threading.Thread):
    """Writes each event to the journal and sends the journal on; the first start also sends what dead processes left."""

    def __init__(self, journal: Journal, *, watch_system: bool) -> None:
        import mlflow  # noqa: F401  (two threads that import at the same moment see half a module)

        super().__init__(name="mlflow-courier", daemon=True)
        self.run_id = ""
        self._journal = journal
        self._waiting: list[Event] = journal.read()
        self._news = threading.Condition()
        self._ending = False
        self._delivered = False
        self._system = _SystemWatch() if watch_system else None
        self.start()

    def post(self, kind: str, **values: Any) -> None:
        """Write an event to the journal and leave it to be sent."""
        if kind == "artifact" and Path(values["path"]).exists():
            values["path"] = str(self._journal.keep(Path(values["path"])))
        with self._news:
            self._waiting.append(self._journal.write(kind, **values))
            self._news.notify()

    def finish(self) -> None:
        """Wait until all is sent, but not for ever; what is left goes out at the next contact."""
        with self._news:
            self._ending = True
            self._news.notify()
        self.join(LAST_WAIT)
        if not self._delivered:
            say(f"not all could be sent; {self._journal.path} keeps it until the next run")
        self._journal.close(delivered=self._delivered)

    def run(self) -> None:
        """Send, and try again after a growing pause while the store is away."""
        sender: Sender | None = None
        swept = False
        pause = FIRST_PAUSE
        while True:
            with self._news:
                if not self._waiting and not self._ending:
                    self._news.wait(SYSTEM_EVERY)
                events, last_try = list(self._waiting), self._ending
            if self._system and not last_try and (seen := self._system.look()):
                self.post("metrics", **seen)
            try:
                sender = sender or Sender(*connect())
                if not swept:  # first, so that what is ours now is not taken for a dead run of the same training
                    send_leftovers()
                    swept = True
                sender.send(events)
                self.run_id = sender.run_id
            except out_of_reach() as error:
                reason = str(error).partition("\n")[0].rpartition(": ")[2].rstrip("')\"")[:150]
                say(f"{tracking_uri()} can't be used now ({reason}); the work goes on, its journal keeps all")
                with self._news:
                    if last_try:
                        return
                    self._news.wait_for(lambda: self._ending, pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            with self._news:
                del self._waiting[: len(events)]
                if self._ending and not self._waiting:
                    self._delivered = True
                    return


def send_leftovers() -> None:
    """Send the journals of processes that died or could not reach the store; a training without an end was KILLED."""
    for path in sorted(tracking_folder().glob("*.jsonl")):
        journal = Journal.open(path)
        if journal is None:
            continue  # its process lives
        events = journal.read()
        if events and events[0]["own"] and events[-1]["kind"] != "end":
            events.append({"kind": "end", "time": events[-1]["time"], "status": "KILLED"})
        delivered = False
        try:
            Sender(*connect()).send(events)
            delivered = True
        finally:
            journal.close(delivered=delivered)


class _SystemWatch:
    """Processor, memory and GPU load under the names of MLflow's system metrics page."""

    def __init__(self) -> None:
        import psutil
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

        self._process = psutil.Process()
        self._monitors: list[Any] = [CPUMonitor()]
        with suppress(ImportError, RuntimeError):  # no NVIDIA library or no GPU: there is nothing to watch
            self._monitors.append(GPUMonitor())
        self._started = self._last = time.monotonic()

    def look(self) -> Event | None:
        """One point of each curve, or None when the last look is not long ago; its step is the age in seconds."""
        now = time.monotonic()
        if now - self._last < SYSTEM_EVERY:
            return None
        self._last = now
        values = {"process_memory_megabytes": self._process.memory_info().rss / 1e6}
        for monitor in self._monitors:
            monitor.collect_metrics()
            values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return {"values": {f"system/{name}": value for name, value in values.items()}, "step": int(now - self._started)}
