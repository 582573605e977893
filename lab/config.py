"""How JupyterLab opens this course. `make lab` runs `jupyter lab --config=lab/config.py`, and so can you.

What you have set in your own JupyterLab, such as its theme, holds here too. Nothing here writes to those settings.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

from jupyterlab_server.workspaces_handler import WorkspacesManager

c = get_config()  # noqa: F821 - Jupyter puts it here
here = Path(__file__).resolve().parent

# This machine alone can reach it, and only with the token that Jupyter makes up at every start.
c.ServerApp.ip = "127.0.0.1"

# The file browser shows the chapters. What they link to, such as the log, can be opened too.
c.ServerApp.root_dir = str(here.parent)
c.FileContentsManager.preferred_dir = "notebooks"
c.LabApp.default_url = "/lab/tree/notebooks/00_welcome.ipynb"

# Every start is a clean one, and leaves the tabs of your other work as they are: those are kept elsewhere.
workspaces = tempfile.mkdtemp(prefix="minigpt4v-workspaces-")
atexit.register(shutil.rmtree, workspaces, ignore_errors=True)
WorkspacesManager(workspaces).save("default", (here / "workspace.json").read_text(encoding="utf-8"))
c.LabApp.workspaces_dir = workspaces

# No news, no updates, no shop: nothing asks the network. The defaults in overrides.json ask no questions either.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
c.ServerApp.tornado_settings = {"page_config_data": {"buildAvailable": False, "buildCheck": False}}
c.LabApp.app_settings_dir = str(here)
