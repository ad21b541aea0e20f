"""All candidates that take part in a benchmark: converted, loaded, each in a process of its own; and who could not be.

Which there are is in `peers/table.py`; what is done with them, in `encoder.py`, `texts.py` and `decode.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfgraph.bench.peers.client import Client
from tfgraph.bench.peers.interface import Job, PeerUnavailable
from tfgraph.bench.peers.table import Candidate

Progress = Callable[[str, int, int], None]


@dataclass
class Field:
    """Who takes part.

    Attributes:
        jobs: what each converted candidate runs, by title.
        clients: the processes of those that are loaded, by title.
        candidates: all that are or were in `clients`.
        skipped: for each of the others, why not.
        converting: seconds that each conversion took.
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    converting: dict[str, float] = field(default_factory=dict)

    def drop(self, title: str, reason: str) -> None:
        """Leave a candidate out from here on."""
        self.skipped[title] = reason
        client = self.clients.pop(title, None)
        if client is not None:
            client.close()

    def each(self, act: Callable[[str, Client], object], progress: Progress, activity: str) -> None:
        """Let every candidate do something in turn; one that fails is dropped."""
        titles = list(self.clients)
        for index, title in enumerate(titles):
            progress(f"{activity}: {title}", index, len(titles))
            try:
                act(title, self.clients[title])
            except PeerUnavailable as error:
                self.drop(title, str(error))


@contextmanager
def taking_part(candidates: Sequence[Candidate], job: Job, progress: Progress) -> Iterator[Field]:
    """Convert and load the candidates; their processes end with the context.

    Args:
        candidates: who may take part.
        job: what all run; each gets its own precision and a folder below `job.folder`.
        progress: called as `progress(activity, done, of)`.
    """
    found = Field()
    with ExitStack() as stack:
        for index, candidate in enumerate(candidates):
            progress(f"making {candidate.title}", index, len(candidates))
            own = replace(job, precision=candidate.precision, folder=_made(job.folder / candidate.slug))
            try:
                with Client(candidate, own) as converter:
                    found.converting[candidate.title] = converter.ask("convert")["seconds"]
                client = Client(candidate, own)
                stack.callback(client.close)
                client.ask("load")
            except PeerUnavailable as error:
                found.skipped[candidate.title] = str(error)
                continue
            found.jobs[candidate.title] = own
            found.clients[candidate.title] = client
            found.candidates[candidate.title] = candidate
        yield found


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
