"""Our own pairs of sentences."""

import csv
from pathlib import Path

TABLE = Path(__file__).with_name("pairs.tsv")
with TABLE.open(encoding="utf-8", newline="") as file:
    KINDS = tuple(row["kind"] for row in csv.DictReader(file, delimiter="\t"))
SHAPED = ("subject", "shape-attribute", "addition", "removal")
