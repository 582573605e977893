"""What a learner sees after `make lab`, and what must not have happened to the rest of the machine."""

from __future__ import annotations

import base64
import http.client
import socket
import urllib.parse

import pytest
from lab_server import ROOT, LabServer, wait_until
from notebook_page import NotebookPage, keep_screenshot

CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
CUT_OFF = "names => names.filter(name => name.scrollWidth > name.clientWidth).map(name => name.innerText)"
NOTIFICATIONS = "@jupyterlab/apputils-extension:notification"


@pytest.fixture
def entered(notebook: NotebookPage) -> NotebookPage:
    notebook.enter()
    return notebook


def test_the_welcome_chapter_is_open_beside_the_list_of_chapters(entered: NotebookPage) -> None:
    page = entered.page
    assert page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel").all_inner_texts() == ["00_welcome.ipynb"]
    assert page.locator(".jp-Notebook h1").first.inner_text().startswith("00 Welcome")
    assert page.locator(".jp-Toolbar-kernelName").inner_text() == "Python 3 (ipykernel)"
    (session,) = entered.server.ask("api/sessions")
    assert session["kernel"]["name"] == "python3"

    names = page.locator(".jp-DirListing-item .jp-DirListing-itemText")
    names.first.wait_for()
    keep_screenshot(page, "make-lab")
    assert names.all_inner_texts() == CHAPTERS
    assert names.evaluate_all(CUT_OFF) == []


def test_nothing_pops_up_asks_the_network_or_changes_the_learners_settings(entered: NotebookPage) -> None:
    entered.page.evaluate("() => window.jupyterapp.restored")
    settings = entered.server.ask(f"lab/api/settings/{NOTIFICATIONS}")["schema"]["properties"]
    assert settings["fetchNews"]["default"] == "false"  # "none" asks whether to be notified
    assert entered.page.locator(".jp-Dialog, .Toastify__toast").all_inner_texts() == []
    assert entered.troubles == []
    wait_until(lambda: "00_welcome" in str(entered.server.ask("lab/api/workspaces/default")), "the tabs to be kept")
    own = (entered.server.settings / "config").rglob("*")
    assert [path for path in own if path.is_file() and "lab" in path.parts] == []


def test_it_listens_on_this_machine_only_and_asks_for_the_token(server: LabServer) -> None:
    assert urllib.parse.urlsplit(server.url).hostname == "127.0.0.1"
    assert len(server.token) >= 32
    wrong = {"Authorization": "token " + "0" * len(server.token)}
    for path in ("api/contents", "api/kernels", "api/terminals"):
        assert ask(server, path).status == ask(server, path, **wrong).status == 403
    for path in ("lab", "files/notebooks/00_welcome.ipynb"):
        assert urllib.parse.urlsplit(ask(server, path).headers["Location"]).path == "/login"
    assert ask(server, "api/contents", Authorization=f"token {server.token}").status == 200
    with pytest.raises(OSError, match=r"refused|assign"):  # Linux would answer if it listened to all addresses
        socket.create_connection(("127.0.0.2", urllib.parse.urlsplit(server.url).port), timeout=5)


def test_pages_from_elsewhere_get_nothing_of_somebody_who_is_logged_in(server: LabServer) -> None:
    """One whose name was made to lead to this machine (Host), and one that opens a connection to a kernel (Origin)."""
    cookies = ask(server, f"lab?token={server.token}").headers.get_all("Set-Cookie")
    cookie = {"Cookie": "; ".join(each.partition(";")[0] for each in cookies)}
    assert ask(server, "api/contents", **cookie).status == 200
    assert ask(server, "api/contents", **cookie, Host="attacker.example").status == 403
    kernel = server.ask("api/kernels", "POST", b"{}")["id"]
    opening = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", **cookie}
    opening["Sec-WebSocket-Key"] = base64.b64encode(b"0123456789abcdef").decode()
    try:
        answers = [
            ask(server, f"api/kernels/{kernel}/channels", **opening, Origin=origin).status
            for origin in (server.url.rstrip("/"), "http://attacker.example")
        ]
        assert answers == [101, 403]
    finally:
        server.ask(f"api/kernels/{kernel}", "DELETE")


def ask(server: LabServer, path: str, **headers: str) -> http.client.HTTPResponse:
    """The head of the answer to a request as it is; nothing is followed."""
    address = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request("GET", f"{address.path}{path}", headers=headers)
        return connection.getresponse()
    finally:
        connection.close()
