"""Prints the matrix of attacks as Markdown: `python -m tests.integration.database.attack_table`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from seatrial import database
from seatrial.database.postgres import Installation
from tests.integration.database.attacks import ATTACKS, Stage, state_of_production
from tests.integration.database.conftest import INSTALLATIONS, SHOP


def outcomes(installation: Installation) -> dict[str, str]:
    """Make a shop on one installation, and return the outcome of each attack on it."""
    folder = Path(tempfile.mkdtemp(prefix="seatrial-attacks-"))
    folder.chmod(0o711)
    os.environ["SEATRIAL_HOME"] = str(folder / "state")
    os.environ["SEATRIAL_DB_FOLDER"] = str(folder / "clusters")
    os.environ["SEATRIAL_DB_POSTGRES"] = str(installation.major)
    root = folder / "shop"
    root.mkdir()
    (root / "shop.sql").write_text(SHOP)
    project = database.init(root, name="shop", load=root / "shop.sql")
    try:
        stage = Stage(project)
        found = {}
        for attack in ATTACKS:
            before = state_of_production(project)
            found[attack.id] = attack.attempt(stage)
            if state_of_production(project) != before:
                found[attack.id] += ", and PRODUCTION HAS CHANGED"
        return found
    finally:
        database.delete_branch(project, "attacker")
        database.down(project)
        project.records.close()
        shutil.rmtree(folder)


def main() -> None:
    """Print the table, one column for each server."""
    seen = [(installation.major, outcomes(installation)) for installation in INSTALLATIONS]
    print("| id | attack | expected | " + " | ".join(f"seen on {major}" for major, _ in seen) + " |")
    print("|---|---|---|" + "---|" * len(seen))
    for attack in ATTACKS:
        expected = attack.expected + (f" (oldest: {attack.on_oldest})" if attack.on_oldest else "")
        cells = [attack.id, attack.what.replace("|", "\\|"), expected, *(found[attack.id] for _, found in seen)]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
