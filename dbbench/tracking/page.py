"""MLflow's page for the project's store, served on this machine, so that it opens in the mode for training.

MLflow's page has two modes, one for language agents and one for training, and keeps the one in use in the browser. A link
between its pages drops the parameter that names it, so a browser that was never told lands on an empty page for agents at the
first click. The page that is served here tells it, before anything else is loaded. Where the store is a server, all else is
passed on to it, with the credentials that MLflow reads from its environment variables or from the address.

    python -m dbbench.tracking.page STORE ARTIFACTS HOST PORT     (started by `dbbench ui`)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dbbench.processes import end_with_workflow

if TYPE_CHECKING:
    from uvicorn._types import ASGIApplication

#: what MLflow's page looks up in the browser: its name there, and the value; a choice made since is kept
REMEMBERED = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",  # the assistant's panel does not open by itself
    "mlflow.telemetry.info.alert.dismissed_v1": "true",  # nothing is reported home
}
MODE = "workflowType=machine_learning"


def telling(html: str) -> str:
    """MLflow's page with a script before all others that sets what the browser does not have yet."""
    sets = "".join(f"if(s.getItem('{key}')===null)s.setItem('{key}','{value}');" for key, value in REMEMBERED.items())
    return html.replace("<head>", f"<head><script>try{{const s=window.localStorage;{sets}}}catch(e){{}}</script>", 1)


def link(address: str) -> str:
    """The list of experiments of a server, in the mode for training."""
    return f"{address.rstrip('/')}/#/experiments?{MODE}"


def application(store: str, artifacts: str) -> ASGIApplication:
    """What is served: MLflow's own server for a database, a passage to one that runs elsewhere."""
    from dbbench.tracking.passage import passage
    from dbbench.tracking.store import SERVERS

    if store.startswith(SERVERS):
        return cast("ASGIApplication", passage(store, telling))
    return own_server(store, artifacts)


def own_server(store: str, artifacts: str) -> ASGIApplication:
    """MLflow's server, with the page that tells the mode. MLflow reads its settings from the environment."""
    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = artifacts
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    from flask import Response
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app

    html = telling((Path(str(pages.static_folder)) / "index.html").read_text(encoding="utf-8"))
    pages.view_functions["serve"] = lambda: Response(html, mimetype="text/html", headers={"Cache-Control": "no-store"})
    return cast("ASGIApplication", app)


def serve(store: str, artifacts: str, host: str, port: int) -> None:
    """Serve until the process is ended."""
    import uvicorn  # MLflow checks who asks only if it sees a server when it is imported

    uvicorn.run(application(store, artifacts), host=host, port=port, log_level="warning")


if __name__ == "__main__":
    end_with_workflow()  # of `dbbench ui`, by whatever signal that ends
    serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
