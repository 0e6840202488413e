"""Who is served: `python -m legalqa.promote promote | rollback | champions | trace | trace-all`.

Outside the map, because it has side effects: the MLflow registry remembers who was champion and why, the BentoML store
holds what the service loads.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from legalqa import store
from legalqa.bundle import CARD_FILE, CONFIG_FILE, GENERATION_FILE, ITEMS_FILE, MANIFEST_FILE, SCORES_FILE, Bundle
from legalqa.files import read_json
from legalqa.params import WinnerParams, load_params
from legalqa.problems import Problem, UserError
from legalqa.provenance import project_root
from legalqa.stage import stage
from legalqa.trace import lines
from legalqa.tracking.registry import Registry
from legalqa.winner import ItemScores, decide, gain

# By later promotions, by trace, by people.
READ_AGAIN = (MANIFEST_FILE, CARD_FILE, ITEMS_FILE, SCORES_FILE, CONFIG_FILE, GENERATION_FILE)
LARGEST_COPY = 1_000_000  # bytes; others that are bigger stay where they are, their hashes are in the manifest
NOT_THE_WINNER = 3  # exit code


def promote() -> None:
    """Compare models/bundle with the champion; the winner is registered, crowned and put in the store."""
    os.chdir(project_root())
    params = load_params()
    rule = params.winner
    bundle = Bundle.open("models/bundle")
    registry = Registry()
    champion = registry.champion()
    if champion and champion.bundle == bundle.version:
        _serve(bundle)
        print(f"already champion: version {champion.number}, bundle {bundle.version}")
        return
    items = read_json(bundle.folder / ITEMS_FILE)
    ours = _scores(items, rule.arm, rule)
    over_base = gain(ours, _scores(items, "base", rule), "base", params.evaluate)
    over_champion = None
    if champion:
        theirs = _scores(registry.read(champion, ITEMS_FILE), rule.arm, rule)
        over_champion = gain(ours, theirs, f"champion {champion.bundle}", params.evaluate)
    if over_base is None:
        raise UserError(Problem(f"{bundle.folder}/evaluation", "no test question was scored", fix="dvc repro evaluate"))
    print(f"{rule.primary} of bundle {bundle.version}, {params.evaluate.confidence:.0%} intervals:")
    for line in filter(None, (over_base, over_champion)):
        print(f"  {line}")
    if champion and over_champion is None:
        print(f"  champion {champion.bundle} was scored on other test questions: it can't be compared, the base decides")
    cheaper = champion is not None and _size(bundle) < int(champion.tags["size"])
    verdict = decide(over_base, over_champion, has_champion=champion is not None, cheaper=cheaper, rule=rule)
    if not verdict.wins:
        print(f"not promoted: {verdict.why}; another training, or another rule in params.yaml (winner)")
        sys.exit(NOT_THE_WINNER)
    tags = {"revision": bundle.manifest.revision, "size": str(_size(bundle))}
    version = registry.register(bundle.version, bundle.manifest.train_key, _evidence(bundle), tags)
    _serve(bundle)
    registry.crown(version, "promote", verdict.why)
    print(f"promoted: version {version.number}, bundle {bundle.version}: {verdict.why}")


def rollback() -> None:
    """The previous champion again; a second rollback takes this back."""
    registry = Registry()
    champion, previous = registry.champion(), registry.previous()
    if champion is None or previous is None:
        raise UserError(Problem("registry", "there is no previous champion", fix="make champions shows the history"))
    store.crown(previous.bundle)
    registry.crown(previous, "rollback", f"rollback from version {champion.number}")
    print(f"champion is version {previous.number} again, bundle {previous.bundle}")


def champions() -> None:
    """The history, the oldest first."""
    registry = Registry()
    current = registry.champion()
    for event in registry.history():
        print(f"{event.time}  {event.who:12}  {event.action:8}  version {event.number:>3}  {event.bundle}  {event.why}")
    print(f"champion: version {current.number}, bundle {current.bundle}" if current else "no champion yet: make promote")


def trace(*, everything: bool = False) -> None:
    """From the champion back to the rows of the raw file."""
    os.chdir(project_root())
    registry = Registry()
    champion = registry.champion()
    if champion is None:
        raise UserError(Problem("registry", "there is no champion yet", fix="make promote"))
    for line in lines(registry, champion, load_params(), everything=everything):
        print(line)


def _serve(bundle: Bundle) -> None:
    store.add(bundle)
    store.crown(bundle.version)


def _scores(items: dict[str, dict[str, ItemScores]], arm: str, rule: WinnerParams) -> ItemScores:
    if rule.primary not in items.get(arm, {}):
        known = ", ".join(f"{name}: {', '.join(scores)}" for name, scores in items.items())
        raise UserError(Problem(f"params.yaml winner.primary of arm {arm}", rule.primary, f"one of {known}"))
    return items[arm][rule.primary]


def _size(bundle: Bundle) -> int:
    """Bytes of what the served arm loads."""
    return sum(entry.size for name, entry in bundle.manifest.files.items() if name.startswith(("base/", "adapter/")))


def _evidence(bundle: Bundle) -> dict[str, Path]:
    """Files that are copied to the registry: all that is read again, and what else is small."""
    small = [
        name for name, entry in bundle.manifest.files.items() if entry.size <= LARGEST_COPY and not name.startswith("base/")
    ]
    return {name: bundle.folder / name for name in dict.fromkeys((*READ_AGAIN, *small))}


COMMANDS: dict[str, Callable[[], None]] = {
    "promote": promote,
    "rollback": rollback,
    "champions": champions,
    "trace": trace,
    "trace-all": lambda: trace(everything=True),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m legalqa.promote", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    with stage(command):
        COMMANDS[command]()
