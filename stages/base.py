"""base: params -> models/base/ (a plain Hugging Face folder with its identity)."""

from pathlib import Path

from legalqa.base import hub, loading, local, packaged
from legalqa.base.identity import Identity
from legalqa.files import written_aside
from legalqa.params import BaseParams, load_params
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt
from legalqa.stage import stage

FOLDER = Path("models/base")


def main(params: BaseParams) -> None:
    """Get the base model, check it, say what it is. An earlier base stays until the new one is whole."""
    with written_aside(FOLDER) as folder:
        identity = _write(params, folder)
        _check_hash(identity, params.sha256)
        loading.check(folder)
        prompt = Prompt.from_base(folder)
        identity.save(folder)
    print(f"{identity.name} ({identity.source}): {identity.architecture}, {identity.parameters / 1e6:.0f} M parameters")
    print(f"weights sha256 {identity.sha256}, licence {identity.licence}, chat format {prompt.name}")


def _write(params: BaseParams, folder: Path) -> Identity:
    match params.source:
        case "packaged":
            return packaged.write(folder)
        case "hub":
            assert params.name and params.revision  # the schema says so
            snapshot = hub.snapshot(params.name, params.revision)
            local.write(snapshot.folder, folder)
            return Identity.of(folder, params.name, "hub", params.revision, snapshot.licence)
        case "local":
            assert params.path
            source = Path(params.path).expanduser()
            local.write(source, folder)
            return Identity.of(folder, params.name or source.resolve().name, "local", licence=local.licence(source))


def _check_hash(identity: Identity, expected: str | None) -> None:
    if expected and identity.sha256 != expected:
        fix = "take the right files, or correct base.sha256 if these are meant"
        raise UserError(Problem(f"weights of {identity.name}", f"sha256 {identity.sha256}", f"{expected} (base.sha256)", fix))


if __name__ == "__main__":
    with stage("base"):
        params = load_params()
        main(params.base)
