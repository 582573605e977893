"""The short form of every benchmark, one table after the other: `python -m bench`, or `make bench`."""

from bench import answering, generation, pipeline, scaling, training_step


def main() -> None:
    training_step.main([])
    generation.main(rounds=3)
    pipeline.main([])
    answering.main([])
    scaling.main([])


if __name__ == "__main__":
    main()
