"""`make demo-db`: a shop's database, an agent's branch, a change with hazards, its report, approval, apply, and drift.

Everything runs on this machine, in a temporary folder that is removed at the end, by the commands that you would type.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent
SEATRIAL = str(Path(sys.executable).with_name("seatrial"))


def say(text: str) -> None:
    """Print what happens next."""
    click.secho(f"\n── {text}", bold=True, fg="cyan")


class Shop:
    """The demonstration's project; `seatrial` runs `seatrial db …` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shop"
        self.folder.mkdir()
        self.environment = {**os.environ, "SEATRIAL_HOME": str(folder / "home")}
        self.environment["SEATRIAL_DB_FOLDER"] = str(folder / "clusters")

    def seatrial(self, *words: str | Path, expect: int = 0, quiet: bool = False) -> str:
        """Run one command, shown as it would be typed; return what it printed."""
        if not quiet:
            click.secho(f"$ seatrial db {' '.join(map(str, words))}", fg="yellow")
        command = [SEATRIAL, "db", *map(str, words)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if not quiet:
            click.echo(done.stdout + done.stderr, nl=False)
        if done.returncode != expect:
            sys.exit(f"seatrial db {words[0]} ended with {done.returncode}, not {expect}: {done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *words: str | Path) -> Any:
        """Run one command silently and return its JSON."""
        return json.loads(self.seatrial(*words, "--json", quiet=True))

    def proposed(self, title: str) -> Any:
        """Return the proposal of a title."""
        return next(entry for entry in self.json("review")["proposals"] if entry["title"] == title)


def play(shop: Shop) -> None:
    """The whole of it."""
    say("A production database: real Postgres, no Docker, no account")
    shop.seatrial("init", "--name", "shop", "--load", HERE / "shop.sql")

    say("An agent gets a branch of its own, with all the data; its URL is all that it gets")
    shop.seatrial("branch", "create", "agent-ada")
    shop.seatrial("psql", "--branch", "agent-ada", "--", "-c", "SELECT count(*) FROM orders")

    say("It does to its branch what it likes; production does not notice")
    shop.seatrial("psql", "--branch", "agent-ada", "--", "-c", "DROP TABLE orders CASCADE")
    shop.seatrial("psql", "--", "-c", "SELECT count(*) FROM orders")

    say("It proposes a change, through the branch itself, with nothing but SQL")
    change = (HERE / "change.sql").read_text().replace("'", "''")
    leave = f"INSERT INTO seatrial.inbox (title, sql) VALUES ('Order status', '{change}')"
    shop.seatrial("psql", "--branch", "agent-ada", "--", "-q", "-c", leave, quiet=True)
    click.echo(f"(left in the inbox of its branch)\n{(HERE / 'change.sql').read_text()}", nl=False)

    say("A person looks: what was measured on a fresh copy of production, not what the SQL looks like")
    first = shop.proposed("Order status")["id"]
    shop.seatrial("review", first, "--html", "review.html")

    say("Approving means naming the hazards; forgetting one is refused")
    shop.seatrial("reviewer", "add", "rita")
    shop.seatrial("approve", first, "--as", "rita", expect=3)
    hazards = ",".join(shop.proposed("Order status")["hazards"])
    shop.seatrial("approve", first, "--as", "rita", "--hazards", hazards)

    say("A second change is proposed and approved meanwhile, measured on the same schema")
    (shop.folder / "second.sql").write_text("ALTER TABLE products ADD COLUMN weight_grams integer;\n")
    shop.seatrial("propose", "second.sql", "--title", "Weights", "--author", "bob", quiet=True)
    second = shop.proposed("Weights")
    hazards = ",".join(second["hazards"])
    shop.seatrial("approve", second["id"], "--as", "rita", *(["--hazards", hazards] if hazards else []))

    say("The first is applied: the approved plan, onto the schema it was measured on, checked before the commit")
    shop.seatrial("apply", first)

    say("The second is refused: production is not what it was measured on any more")
    shop.seatrial("apply", second["id"], expect=3)

    say("Everything is in the log, and the log cannot be changed unseen")
    shop.seatrial("log", "--verify", "--last", "8")


def main() -> None:
    """Play it in a temporary folder, and clean up."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="seatrial-demo-"))
    folder.chmod(0o711)
    shop = Shop(folder)
    try:
        play(shop)
        kept = Path("build/demo-db-review.html")
        kept.parent.mkdir(exist_ok=True)
        shutil.copy(shop.folder / "review.html", kept)
    finally:
        subprocess.run(
            [SEATRIAL, "db", "down"],
            cwd=shop.folder,
            env=shop.environment,
            capture_output=True,
            check=False,
        )
        shutil.rmtree(folder)
    say(f"Done in {time.monotonic() - began:.0f} seconds; the review page is in {kept}")


if __name__ == "__main__":
    main()
