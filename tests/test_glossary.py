"""Terms are linked where a page first says them, under whatever name, and nowhere else."""

from book.glossary import FirstUses, Term


def terms() -> list[Term]:
    patch = Term(en="patch", zh="图块", means="a part", chapter="10_the_patch_encoder", say=("patches",))
    encoder = Term(en="patch encoder", zh="图块编码器", means="it reads parts", chapter="10_the_patch_encoder")
    return [patch, encoder]


def linked(*texts: str) -> str:
    uses = FirstUses(terms())
    return " | ".join(uses.link(text) for text in texts)


def test_a_term_is_linked_once_whatever_it_is_called():
    text = linked("Two Patches.", "A patch, and patches.")
    assert text.count("<a ") == 1
    assert ">Patches</a>" in text


def test_the_longer_term_wins():
    text = linked("A patch encoder reads patches.")
    assert ">patch encoder</a>" in text
    assert ">patches</a>" in text


def test_parts_of_words_are_no_terms():
    assert "<a " not in linked("We dispatch, re-patch and patchwork.")
