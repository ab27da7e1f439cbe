"""The installed command, as a new user types it: a database, branches, the gate, and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="install with: pip install 'seatrial[database]'")

from seatrial.database.postgres import installations

pytestmark = pytest.mark.skipif(not installations(), reason="no Postgres server programs are installed")


@dataclass
class Place:
    """A folder, and `seatrial db …` in it."""

    root: Path
    environment: dict[str, str]

    def db(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("seatrial")), "db", *words]
        return subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, input=stdin, check=False
        )

    def json(self, *words: str, stdin: str = "") -> Any:
        done = self.db(*words, "--json", stdin=stdin)
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="seatrial-db-"))
    folder.chmod(0o711)
    (folder / "shop").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEATRIAL_")}
    place = Place(
        folder / "shop",
        {**kept, "SEATRIAL_HOME": str(folder / "home"), "SEATRIAL_DB_FOLDER": str(folder / "clusters")},
    )
    yield place
    place.db("down")
    shutil.rmtree(folder)


def test_before_init_every_verb_says_so(place: Place) -> None:
    for verb in (["status"], ["url"], ["branch", "list"], ["review"], ["drift"], ["log"], ["down"]):
        done = place.db(*verb)
        assert (done.returncode, "seatrial db init" in done.stderr) == (1, True), verb
        assert "Traceback" not in done.stderr


def test_from_nothing_to_an_applied_change(place: Place) -> None:
    made = place.json("init", "--name", "shop")
    assert made["url"].startswith("postgresql://shop_rw:")
    assert place.json("init")["url"] == made["url"]
    branch = place.json("branch", "create", "feature-x")
    assert branch["state"] == "awake"
    told = place.db("psql", "--branch", "feature-x", "--", "-Atc", "SELECT current_user")
    assert told.stdout == "shop_owner\n"

    proposed = place.json("propose", "-", "--author", "ann", stdin="CREATE TABLE notes (id int PRIMARY KEY);")
    assert proposed["state"] == "proposed"
    refused = place.db("apply", proposed["id"])
    assert refused.returncode == 3
    place.json("reviewer", "add", "rita")
    place.json("approve", proposed["id"], "--as", "rita", "--hazards", ",".join(proposed["hazards"]))
    assert place.json("apply", proposed["id"])["state"] == "applied"
    assert place.json("drift")["changes"] == []
    page = place.root / "page.html"
    place.json("review", proposed["id"], "--html", str(page))
    assert "<html" in page.read_text()
    assert place.json("log", "--verify")["verified"] > 5
    assert {server["name"] for server in place.json("status")["servers"]} == {"production", "feature-x"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["branch", "show", "nowhere"], 1, "There is no branch nowhere"),
        (["branch", "create", "../x"], 1, "cannot be the name"),
        (["branch", "create", "x", "--strategy", "magic"], 1, "There is no strategy magic"),
        (["branch", "create", "x", "--ttl", "soon"], 2, "is not a length of time"),
        (["branch", "reset", "feature-x"], 1, "must be confirmed"),
        (["propose", "nowhere.sql"], 1, "nowhere.sql cannot be read"),
        (["propose"], 1, "What is to be proposed"),
        (["approve", "ffff"], 1, "There is no one proposal ffff"),
        (["url", "--role", "owner"], 1, "Production's owner works through the gate"),
        (["snapshot", "delete", "nowhere", "--yes"], 1, "There is no snapshot nowhere"),
        (["url", "--no-such-option"], 2, "No such option"),
    ],
)
def test_what_goes_wrong_is_one_sentence(place: Place, words: list[str], code: int, said: str) -> None:
    done = place.db(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    told = place.db(*words, "--json")
    if code != 2 or "--ttl" in words:
        assert json.loads(told.stdout)["ok"] is False


def test_down_stops_everything_and_up_brings_it_back(place: Place) -> None:
    url = place.json("url")["url"]
    assert set(place.json("down")["stopped"]) >= {"service", "production"}
    assert place.json("down")["stopped"] == []
    assert not [server for server in place.json("status")["servers"] if server["running"]]
    place.json("up")
    assert place.json("url")["url"] == url
    assert place.db("psql", "--", "-Atc", "SELECT count(*) FROM notes").stdout == "0\n"
