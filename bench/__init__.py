"""Speed, measured side by side in one run (`python -m bench`), and experiments too long for a chapter.

Each experiment is a module of its own that writes one file of `bench/results`, which a chapter reads and shows.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS_FOLDER = ROOT / "bench" / "results"
