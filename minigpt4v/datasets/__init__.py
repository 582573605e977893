"""The data sets of the course: emoji scenes, plain shapes, scanned digits, texts, and a folder of your own."""
