"""The tracking store: made once, opened by the project's folder.

Where it lies: `tracking_uri` of the configuration, else MLFLOW_TRACKING_URI of the environment, else a SQLite file under
results/. That file is of this project alone. Any other store may be shared with other clones, so there each experiment has the
project's name before its own: no clone ever sees, and so never changes, the runs of another.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dbbench.config import config_root
from dbbench.errors import UserError, missing_package
from dbbench.files import read_json, refused_by_disk, replacing, write_json
from dbbench.runs.strict import check_seal, seal_of

DEFAULT_URI = "sqlite:///results/mlflow.db"
ENVIRONMENT = "MLFLOW_TRACKING_URI"
MARKER = Path("results/tracking.json")
PROJECT = Path("results/project.json")  # not in the marker alone, which the workflow may make anew
ARTIFACTS = Path("results/mlartifacts")
TABLES = "tables"  # the MLflow experiment of the runs that carry tables and figures
JUDGES = "judges"  # that of judge models and feature extractors
HOW_TO_CREATE = "create it with `dbbench store`"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
RUN_TAG = "dbbench.run"
PATIENCE_S = 30.0  # for a database that another process has locked
LOCKED = "{}: locked by another process; end it (a viewer, a copy?), then `dbbench sync`"
SQLITE_JOURNALS = ("-journal", "-wal", "-shm")
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # else the page shows what is for language agents

Client = Any  # mlflow.MlflowClient, which is not imported here


def create_store(uri: str | None = None, root: Path | None = None) -> dict[str, Any]:
    """Create the store once and write results/tracking.json; what exists already is kept.

    Args:
        uri: the configuration's `tracking_uri`: a SQLite file, a relative one below the project (`sqlite:///...`), another
            database, or a server (`http://host:port`). None for what the environment says, else a file under results/.
        root: the project's folder, default the working directory.

    Returns:
        What the marker says: `uri`, `artifacts` (a folder relative to the project, or None where a server keeps them),
        `experiments`, `project` (its name), and a `seal` over them.

    Raises:
        UserError: an address of an unknown kind, a server that does not answer, or a file that is not such a store; a folder
            whose name MLflow would take for another's.
    """
    root = root or Path()
    uri = wanted_address(uri) or DEFAULT_URI
    _check_place(uri, root)
    _name_project(root)
    names = [*configured_architectures(), TABLES]
    file = sqlite_file(uri, root)
    if file is not None and not file.exists():
        # made whole or not at all: a killed job leaves no store without tables
        with replacing(file) as temporary:
            _fill(f"sqlite:///{temporary.resolve()}", names, root)
    else:
        _fill(resolved(uri, root), names, root)
    local = not is_server(uri)
    told = {"uri": uri, "artifacts": str(ARTIFACTS) if local else None, "experiments": names, "project": project_name(root)}
    marker = {**told, "seal": seal_of(told)}
    write_json(root / MARKER, marker)
    return marker


def configured_architectures() -> list[str]:
    """The architectures that have a configuration of their own."""
    return sorted(path.stem for path in (config_root() / "architectures").glob("*.yaml"))


def experiment_of(architecture: str) -> str:
    """The experiment that holds the runs of an architecture: of one that runs another's network in its own way (`local_vit`),
    that of the other, so that the arms of a table stand in one view."""
    known = configured_architectures()
    others = [name for name in known if architecture.endswith(f"_{name}")]
    return architecture if architecture in known or not others else others[0]


def wanted_address(configured: str | None) -> str | None:
    """The address that the configuration asks for, else the environment; None where neither does.

    Raises:
        UserError: an address of an unknown kind, with the name of the setting.
    """
    if configured:
        check_address(configured, "tracking_uri")
        return configured
    found = os.environ.get(ENVIRONMENT, "").strip()
    if found:
        check_address(found, ENVIRONMENT)
    return found or None


def _name_project(root: Path) -> None:
    """Give the project the name it has in stores that others use, too; it keeps the one it has."""
    if not (root / PROJECT).exists():
        write_json(root / PROJECT, {"name": _marked_project(root) or f"{root.resolve().name}-{secrets.token_hex(4)}"})


def _marked_project(root: Path) -> object:
    """The name that the marker says: a job of a cluster may have no other file of the project."""
    return _marker(root).get("project") if (root / MARKER).exists() else None


def project_name(root: Path) -> str:
    """The project's name in stores that others use, too.

    Raises:
        UserError: its file is missing or names none.
    """
    if (root / PROJECT).exists():
        content = read_json(root / PROJECT)
        name = content.get("name") if isinstance(content, dict) else None
    elif (name := _marked_project(root)) is None:
        raise UserError(f"{root / PROJECT}: missing, it names this project in a shared store: {HOW_TO_CREATE}")
    if not isinstance(name, str) or not name:
        raise UserError(f"{root / PROJECT}: names no project; delete it and {HOW_TO_CREATE}")
    return name


def is_own(uri: str, root: Path) -> bool:
    """Whether a store is of this project alone: a SQLite file in its results/."""
    file = sqlite_file(uri, root)
    return file is not None and file.resolve().is_relative_to((root / "results").resolve())


def _fill(uri: str, names: list[str], root: Path) -> None:
    with reported(uri):
        client = _client(uri)
        for name in names:
            experiment_id(client, name, root)


def check_address(uri: str, setting: str) -> None:
    """Raises UserError for an address that is neither a database nor a server, or is of one in memory."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"{setting} {shown(uri)!r}: {error}; expected http://HOST:PORT") from None
    scheme = parts.scheme.split("+")[0]
    rest = uri.partition("://")[2]
    in_memory = scheme == "sqlite" and rest.strip("/") in ("", ":memory:")
    # a file has no host and no options; a database without a host is reached by a socket of this machine
    file = scheme == "sqlite" and rest.startswith("/") and parts.scheme in ("sqlite", "sqlite+pysqlite") and "?" not in rest
    other = (scheme in DATABASES[1:] and (host or rest.strip("/"))) or (parts.scheme in SERVERS and host)
    if in_memory or port == 0 or not rest or not (file or other):
        raise UserError(f"{setting} {uri!r}: expected sqlite:///FILE, another database's address, or http://HOST:PORT")


def is_server(uri: str) -> bool:
    """Whether an address is that of a tracking server."""
    return urlsplit(uri).scheme in SERVERS


def shown(uri: str) -> str:
    """An address without the user and password that it may hold."""
    before, colon, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{before}{colon}{host.rpartition('@')[2]}{slash}{path}"


def sqlite_file(uri: str, root: Path) -> Path | None:
    """The file of a SQLite address, a relative one below the project; None for other addresses."""
    scheme, _, path = uri.partition(":///")
    return root / path if scheme.lower().split("+")[0] == "sqlite" else None


def resolved(uri: str, root: Path) -> str:
    """The address with a SQLite file's path made absolute, after a look at the file.

    Raises:
        UserError: the file is missing, locked, or something else than an MLflow store.
    """
    file = sqlite_file(uri, root)
    if file is None:
        return uri
    _check_place(uri, root)
    if not file.exists():
        raise UserError(f"no tracking store at {file}: {HOW_TO_CREATE}")
    try:
        tables = _tables(file)
    except sqlite3.DatabaseError as error:
        raise UserError(f"{file}: not a tracking store ({error}); move it away and {HOW_TO_CREATE}") from None
    if "experiments" not in tables:
        raise UserError(f"{file}: a database, but not an MLflow store; move it away and {HOW_TO_CREATE}")
    return f"sqlite:///{file.resolve()}"


def _check_place(uri: str, root: Path) -> None:
    """Raises UserError for a place that MLflow would misread: `?` ends the path of a database, `%20` is a space."""
    file, artifacts = sqlite_file(uri, root), (root / ARTIFACTS).resolve()
    if file is not None and "?" in str(file.resolve()):
        raise UserError(f"{file.resolve()}: MLflow cannot open a database below a name with `?`; rename it")
    if not is_server(uri) and unquote(str(artifacts)) != str(artifacts):
        raise UserError(f"{artifacts}: MLflow would write to {unquote(str(artifacts))}; rename the folder with `%` in its name")


def _tables(file: Path, *, whole: bool = False) -> set[str]:
    """The tables of a SQLite file, whose pages are all looked at where `whole`.

    Raises:
        UserError: another process has locked it for longer than `PATIENCE_S`.
        sqlite3.DatabaseError: it is no database, or a damaged one.
    """
    try:
        # not read-only: what a killed process has half written is rolled back
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True, timeout=PATIENCE_S)) as database:
            if whole and (said := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(said)
            return {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname not in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            raise
        raise UserError(LOCKED.format(file)) from None


def rebuild(root: Path) -> str | None:
    """Make a SQLite store anew that was there and is deleted or damaged; what is damaged is moved aside.

    Returns:
        What was found and done, in one line; None where nothing had to be.

    Raises:
        UserError: it is locked, or a database of something else.
    """
    uri = marked_uri(root) if (root / MARKER).exists() else None
    file = None if uri is None else sqlite_file(uri, root)
    if file is None or (problem := damage(file)) is None:
        return None
    aside = f"{file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    moved = f"; it is kept as {aside}" if file.exists() else ""
    for ending in ("", *SQLITE_JOURNALS):
        if (part := file.with_name(file.name + ending)).exists():
            part.replace(file.with_name(aside + ending))
    create_store(uri, root)
    return f"{file} {problem}: made anew from the files of the runs{moved}; other scales: `dbbench sync --scale SCALE`"


def damage(file: Path) -> str | None:
    """Why a store has to be made anew; None where it is whole, or a database of something else."""
    if not file.exists():
        return "was deleted"
    try:
        return None if _tables(file, whole=True) else "was empty"
    except sqlite3.DatabaseError as error:
        return f"was damaged ({' '.join(str(error).split())})"


def marked_uri(root: Path) -> str:
    """The address that the project's marker names.

    Raises:
        UserError: the marker is no JSON, names none or one of an unknown kind, or was changed after it was written.
    """
    return str(_marker(root)["uri"])


def _marker(root: Path) -> dict[str, Any]:
    """What the marker says; those of older versions bear no seal."""
    marker = read_json(root / MARKER)
    if not isinstance(marker, dict) or not isinstance(marker.get("uri"), str):
        raise UserError(f"{root / MARKER}: names no `uri`; delete it and {HOW_TO_CREATE}")
    check_address(marker["uri"], f"{root / MARKER}: uri")
    check_seal(marker, root / MARKER)
    return marker


def check_inside(root: Path) -> None:
    """Look whether the store that the marker names is one that this project may write.

    A file elsewhere is somebody else's, unless `dbbench store` was asked for it by its own address, of which the seal tells.

    Raises:
        UserError: it leads out of the project, by its path or by a link.
    """
    marker = _marker(root)
    uri, sealed = marker["uri"], "seal" in marker
    file = sqlite_file(uri, root)
    if file is None or file.resolve().is_relative_to(root.resolve()) or is_own(uri, root):
        return
    # the address itself leads out: by `..`, or from the root
    named = not Path(os.path.abspath(file)).is_relative_to(os.path.abspath(root))
    if not (named and sealed):
        raise UserError(
            f"{root / MARKER}: {shown(uri)} leads out of the project, to {file.resolve()}: set `tracking_uri` to it "
            f"if that is meant, else delete the marker and {HOW_TO_CREATE}"
        )


def check_wanted(root: Path, configured: str | None) -> None:
    """Look whether the configuration and the environment ask for the store that the project has, if it has one.

    Raises:
        UserError: an address of an unknown kind, or of another store; where neither asks for one, as `check_inside`.
    """
    wanted = wanted_address(configured)
    if not (root / MARKER).exists():
        return
    if wanted is None:
        check_inside(root)
        return
    uri = marked_uri(root)
    if _place(wanted, root) != _place(uri, root):
        setting = "tracking_uri" if configured else ENVIRONMENT
        raise UserError(
            f"{setting} is {shown(wanted)}, but {MARKER} was made for {shown(uri)}: change one, or have a store there with "
            "`dbbench store`, which `dbbench sync` fills"
        )


def _place(uri: str, root: Path) -> str:
    """What two spellings of one address share."""
    file = sqlite_file(uri, root)
    return uri.rstrip("/") if file is None else str(file.resolve())


def store_uri(root: Path) -> str:
    """The address of the project's store, ready for MLflow. Raises UserError where there is none yet."""
    if not (root / MARKER).exists():
        raise UserError(f"no tracking store yet ({MARKER} is missing): {HOW_TO_CREATE}")
    return resolved(marked_uri(root), root)


def connect(root: Path) -> Client:
    """A client of the project's store. Raises UserError where there is none."""
    return _client(store_uri(root))


def _client(uri: str) -> Client:
    # said before mlflow is imported: it reads them once
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is the commands' own
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: Client, short: str, root: Path) -> str:
    """The id of one of the project's experiments, created where it is missing.

    Raises:
        UserError: it was deleted in the store.
    """
    from mlflow.exceptions import MlflowException

    name = short if is_own(client.tracking_uri, root) else f"{project_name(root)}: {short}"
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        place = None if is_server(client.tracking_uri) else str((root / ARTIFACTS / short).resolve())
        try:
            return str(client.create_experiment(name, artifact_location=place, tags=EXPERIMENT_TAGS))
        except MlflowException:  # another process was faster
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        cure = f"mlflow experiments restore -x {experiment.experiment_id}"
        address = shlex.quote(shown(client.tracking_uri))
        raise UserError(f"experiment {name} was deleted in the tracking store; `{ENVIRONMENT}={address} {cure}`")
    return str(experiment.experiment_id)


def credentials(server: str) -> Any:
    """What MLflow sends to a server with a request, by its environment variables."""
    from mlflow.utils.credentials import get_default_host_creds

    return get_default_host_creds(server.rstrip("/"))


def check_answers(uri: str) -> None:
    """Raises UserError where the store is a server that does not answer."""
    if is_server(uri):
        with reported(uri):
            _client(uri).search_experiments(max_results=1)


@contextmanager
def reported(uri: str) -> Iterator[None]:
    """What MLflow or the database raises becomes one line; what our own code raises is a fault of ours, and stays as it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("mlflow"):
            raise UserError(missing_package("mlflow")) from None
        *_, raised = traceback.walk_tb(error.__traceback__)
        if raised[0].f_globals.get("__name__", "").startswith("dbbench."):
            raise
        if "database is locked" in str(error):
            raise UserError(LOCKED.format(shown(uri))) from None
        if "disk is full" in str(error):
            raise UserError(refused_by_disk(OSError(errno.ENOSPC, ""), shown(uri))) from None
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        told = re.sub(r"://[^/@\s]+@", "://", first)  # which repeats the address, with its user and password
        raise UserError(f"tracking store {shown(uri)}: {told}") from None
