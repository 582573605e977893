"""Print every measurement as a table, or as JSON with --json."""

from __future__ import annotations

import json
import sys

from bench import against_transformers, pipeline


def main() -> None:
    """Run the short form of every benchmark."""
    results: dict[str, float] = {}
    for preset in ("tiny", "laptop"):
        results |= {f"{preset}: {name}": value for name, value in pipeline.measure(preset).items()}
    step, write = against_transformers.training_step, against_transformers.greedy_decoding
    results["training step, 4 layers of width 128: times as fast as transformers"] = step(4, 4, 128, 64, 12)
    results["training step, 6 layers of width 384: times as fast as transformers"] = step(6, 6, 384, 256, 8)
    results["greedy decoding, 0.8 M parameters: times as fast as transformers"] = write(4, 4, 128, 128)
    results["greedy decoding, 10 M parameters: times as fast as transformers"] = write(6, 6, 384, 64)
    if "--json" in sys.argv[1:]:
        print(json.dumps(results, indent=2))
        return
    width = max(map(len, results))
    for name, value in results.items():
        print(f"{name:<{width}}  {value:>10,}")


if __name__ == "__main__":
    main()
