"""The web book: a preprocessor that makes pages of notebooks, the glossary, and the build."""
