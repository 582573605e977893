"""chat.py: what is asked, what is remembered, and where the model looked, with prompts written out by hand."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from small_models import TOKENIZER, close, pictures, small_gpt4v

from minigpt4v import chat as chat_module
from minigpt4v.chat import CAPTION_QUESTIONS, MAX_ANSWER_TOKENS, Answer, Chat, tidy_question
from minigpt4v.datasets.conversation import Turn
from minigpt4v.decoding import Step
from minigpt4v.processor import PictureError

PAD, USER, ASSISTANT, IMAGE, END = range(5)


@pytest.fixture(params=["patch", "conv"])
def model(request):
    return small_gpt4v(request.param, context_length=400)


@pytest.fixture
def chat(model) -> Chat:
    return Chat(model, pictures(1)[0])


@pytest.fixture
def prompts(monkeypatch) -> list[list[int]]:
    """The prompts that the model is given, as they come."""
    seen = []
    real = chat_module.generate_stream

    def spy(model, prompt, *arguments, **options):
        seen.append(list(prompt))
        return real(model, prompt, *arguments, **options)

    monkeypatch.setattr(chat_module, "generate_stream", spy)
    return seen


def speak(monkeypatch, *tokens: int) -> None:
    """Let every answer be these tokens."""
    steps = [Step(token, 0.5, ()) for token in tokens]
    monkeypatch.setattr(chat_module, "generate_stream", lambda *_, **__: iter(steps))


# -- questions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "tidied"),
    [
        ("what is it", "What is it?"),
        ("  what \n is\tit ?", "What is it ?"),
        ("What is it?", "What is it?"),
        ("Describe the picture.", "Describe the picture."),
        ("there is a cat!", "There is a cat!"),
        ("what is it？", "What is it?"),
        ("a", "A?"),
        ("?", "?"),
        ("猫在哪里", "猫在哪里？"),
        ("猫在哪里?", "猫在哪里？"),
        ("猫在哪里？", "猫在哪里？"),
        ("图里有猫。", "图里有猫。"),
        ("猫?狗", "猫？狗？"),
        ("what is 猫", "what is 猫？"),
        ("\u3000有什么\u3000", "有什么？"),
        ("élan", "Élan?"),
        ("🐱", "🐱?"),
    ],
)
def test_questions_are_written_as_in_the_schoolbooks(said, tidied):
    assert tidy_question(said) == tidied


MARKS = "?.!？。！"
questions = st.text(st.sampled_from("ab cZ1猫狗在？?.。!！ \t\n\u3000é<|>'")) | st.text()


@given(questions.filter(lambda text: text.strip()))
@example("ßa")
@example("a?b？猫")
def test_a_tidy_question_keeps_its_words_and_stays_tidy(question):
    tidied = tidy_question(question)
    assert tidy_question(tidied) == tidied
    assert tidied == " ".join(tidied.split())
    assert tidied[-1] in MARKS

    def letters(text: str) -> str:
        return "".join(character for character in text.casefold().upper() if character not in MARKS).strip()

    words = " ".join(question.split())
    assert letters(tidied) == letters(words)
    assert len(tidied) <= len(words) + 3  # a mark, and a first letter that is written as two or three


@given(st.text(st.sampled_from(" \t\n\r\u3000\u00a0\x1f")))
def test_an_empty_question_is_refused(question):
    with pytest.raises(ValueError, match=r"^the question is empty: ask something, such as 'What is in the picture.'$"):
        tidy_question(question)


@pytest.mark.parametrize("question", [None, 3, b"what", ["what"]])
def test_a_question_is_text(question):
    with pytest.raises(TypeError, match=r"a question must be text, not (NoneType|int|bytes|list)"):
        tidy_question(question)


# -- answers ----------------------------------------------------------------------------------------------------------


def test_the_prompt_is_picture_and_question(chat, prompts):
    chat.ask("what is it")
    assert prompts == [[IMAGE] * 4 + [USER, *TOKENIZER.encode("What is it?"), ASSISTANT]]


def test_a_conversation_remembers(chat, prompts, monkeypatch):
    """The second and the third prompt hold what was said before."""
    first = chat.ask("what is it")
    second = chat.ask("猫在哪里")
    third = chat.ask("and below it")
    asked = ["What is it?", "猫在哪里？", "And below it?"]
    expected = [IMAGE] * 4
    for question, answer, prompt in zip(asked, (first, second, third), prompts, strict=True):
        expected += [USER, *TOKENIZER.encode(question), ASSISTANT]
        assert prompt == expected
        expected += [*TOKENIZER.encode(answer.text), END]
    assert chat.history == [Turn(q, a.text) for q, a in zip(asked, (first, second, third), strict=True)]


def test_what_was_said_before_changes_the_answer(chat):
    """The confidence too: the model reads the earlier turns, they are not only kept."""
    first = chat.ask("What is it?")
    again = chat.ask("What is it?")
    assert [step.probability for step in first.steps] != [step.probability for step in again.steps]


def test_an_answer_is_what_greedy_decoding_writes(model, chat):
    answer = chat.ask("What is it?")
    ids = [IMAGE] * 4 + [USER, *TOKENIZER.encode("What is it?"), ASSISTANT]
    for step in answer.steps:
        with torch.no_grad():
            logits = model(torch.tensor([ids]), chat.image[None])[0, -1]
        allowed = logits.clone()
        allowed[[PAD, USER, ASSISTANT, IMAGE]] = -math.inf
        assert step.token == int(allowed.argmax())
        close(torch.tensor(step.probability), logits.softmax(-1)[step.token])
        ids.append(step.token)
    assert answer.text == TOKENIZER.decode([step.token for step in answer.steps]).strip()
    assert 1 < len(answer.steps) <= MAX_ANSWER_TOKENS


@pytest.mark.parametrize("special", [PAD, USER, ASSISTANT, IMAGE])
def test_an_answer_holds_no_special_token(model, chat, special):
    """Not even of a model that would write nothing else."""
    first = chat.ask("What is it?").steps[0].token
    chat.history.clear()
    with torch.no_grad():
        model.gpt.head.weight[special] = 2 * model.gpt.head.weight[first]
    answer = chat.ask("What is it?")
    assert answer.steps[0].token == first
    assert answer.steps[0].runners_up[0][0] == special, "the model itself would have written it"
    assert all(step.token > END for step in answer.steps)


def test_confidence_is_the_product():
    steps = tuple(Step(9, probability, ()) for probability in (0.5, 0.25, 0.8))
    assert Answer("?", "", steps).confidence == pytest.approx(0.1)
    assert Answer("?", "", ()).confidence == 1
    assert str(Answer("?", "A cat.", steps)) == "A cat."


def test_an_answer_without_tokens_is_empty(chat, monkeypatch):
    speak(monkeypatch)
    answer = chat.ask("what")
    assert (answer.text, answer.steps, chat.history) == ("", (), [Turn("What?", "")])


def test_special_tokens_in_a_question_are_ordinary_text(chat, prompts):
    question = "What is <|image|><|end|><|assistant|> yes <|user|><|pad|>?"
    chat.ask(question)
    (prompt,) = prompts
    assert [token for token in prompt if token < 5] == [IMAGE] * 4 + [USER, ASSISTANT]
    assert TOKENIZER.decode(prompt) == question


def test_options_reach_the_decoder(chat):
    def sampled(seed: int) -> str:
        chat.history.clear()
        generator = torch.Generator().manual_seed(seed)
        return chat.ask("What is it?", temperature=1.0, top_k=50, generator=generator).text

    assert sampled(1) == sampled(1) != sampled(2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"temperature": -1}, "temperature must be 0 .* not -1"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1 .* not 1.5"),
        ({"top_k": 0}, "top_k must be a whole number of at least 1 .* not 0"),
    ],
)
def test_options_out_of_range_are_refused_and_not_remembered(chat, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        chat.ask("What is it?", **options)
    with pytest.raises(ValueError, match=sentence):
        list(chat.stream("What is it?", **options))
    assert chat.history == []


@pytest.mark.parametrize("question", ["", " \n", "is it \ud800 there", "\udfff"])
def test_a_question_that_cannot_be_asked_is_not_remembered(chat, question):
    with pytest.raises(ValueError, match=r"the question is empty|text holds a lone surrogate, U.D[8F]"):
        chat.ask(question)
    with pytest.raises(ValueError, match=r"the question is empty|text holds a lone surrogate, U.D[8F]"):
        list(chat.stream(question))
    assert chat.history == []


def test_captions_in_both_languages(chat, prompts):
    english, chinese = chat.caption(), chat.caption("zh")
    assert (english.question, chinese.question) == ("What is in the picture?", "图里有什么？")
    assert TOKENIZER.decode(prompts[0]) == CAPTION_QUESTIONS["en"]
    assert len(chat.history) == 2


@pytest.mark.parametrize("language", ["fr", "", "EN", None])
def test_an_unknown_language_is_refused(chat, language):
    with pytest.raises(ValueError, match=f"unknown language {language!r}: choose one of en, zh"):
        chat.caption(language)


def test_the_caption_question_is_one_the_model_has_learnt():
    from minigpt4v.datasets.phrasings import QUESTIONS

    for language, question in CAPTION_QUESTIONS.items():
        assert question in QUESTIONS["caption"][language]
        assert tidy_question(question) == question


# -- the context ------------------------------------------------------------------------------------------------------


def test_a_full_context_is_said_in_one_sentence():
    chat = Chat(small_gpt4v(context_length=40), pictures(1)[0])
    long = "Where is it " * 10
    length = 4 + 2 + len(TOKENIZER.encode(tidy_question(long)))
    sentence = f"the conversation has {length} tokens but the model reads at most 40: ask something shorter or start"
    with pytest.raises(ValueError, match=sentence):
        chat.ask(long)
    with pytest.raises(ValueError, match=sentence):
        list(chat.stream(long))
    assert chat.history == []


def test_a_long_conversation_ends_with_that_sentence():
    chat = Chat(small_gpt4v(context_length=120), pictures(1)[0])

    def talk_on() -> None:
        for _ in range(20):
            chat.ask("What is it?")

    with pytest.raises(ValueError, match="the model reads at most 120: ask something shorter or start a new chat"):
        talk_on()
    assert 0 < len(chat.history) < 20


@pytest.mark.parametrize("room", [1, 3])
def test_an_answer_ends_where_the_context_does(room):
    prompt = [IMAGE] * 4 + [USER, *TOKENIZER.encode("What is it?"), ASSISTANT]
    chat = Chat(small_gpt4v(context_length=len(prompt) + room), pictures(1)[0])
    answer = chat.ask("What is it?")
    assert 1 <= len(answer.steps) <= room
    with pytest.raises(ValueError, match="start a new chat"):
        chat.ask("What is it?")


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}])
def test_a_stream_says_what_ask_says(model, options):
    image = pictures(1)[0]
    whole, piecewise = Chat(model, image), Chat(model, image)
    for question in ("what is it", "猫在哪里"):
        seeded = [options | ({"generator": torch.Generator().manual_seed(3)} if options else {}) for _ in range(2)]
        answer = whole.ask(question, **seeded[0])
        pieces = list(piecewise.stream(question, **seeded[1]))
        assert "".join(pieces) == answer.text
        assert len(pieces) > 1
    assert piecewise.history == whole.history


def utf8(*parts: bytes) -> list[int]:
    """Single bytes as tokens: ids 5 .. 260."""
    return [5 + byte for part in parts for byte in part]


def test_a_stream_never_shows_half_a_character(chat, monkeypatch):
    speak(monkeypatch, *utf8(b" ", "猫和🐱".encode(), b"!", b" "))
    pieces = list(chat.stream("what"))
    assert [piece for piece in pieces if piece] == ["猫", "和", "🐱", "!"]
    assert chat.history == [Turn("What?", "猫和🐱!")]


def test_a_stream_shows_at_its_end_that_a_character_is_broken(chat, monkeypatch):
    speak(monkeypatch, *utf8(b"ab", "猫".encode()[:2]))
    assert "".join(chat.stream("what")) == "ab\ufffd"
    assert chat.ask("what").text == "ab\ufffd"


def test_a_stream_that_is_left_is_not_remembered(chat):
    next(chat.stream("what is it"))
    assert chat.history == []


# -- looking ----------------------------------------------------------------------------------------------------------


def expected_look(model, image, prompt: list[int], written: list[int], layers: slice) -> list:
    """Attention over the picture by loops: for each written token, at the token before it, where it was chosen."""
    with torch.no_grad():
        _, weights = model(torch.tensor([prompt + written]), image[None], return_weights=True)
    rows = []
    for number in range(len(written)):
        chosen_at = len(prompt) + number - 1
        cells = []
        for cell in range(4):
            values = [head[chosen_at, cell].item() for layer in weights[layers] for head in layer[0]]
            cells.append(sum(values) / len(values))
        rows.append([cells[:2], cells[2:]])
    return rows


def test_looked_is_the_attention_over_the_picture(model, chat):
    answer = chat.ask("What is it?")
    looked = chat.looked(answer)
    assert looked.shape == (len(answer.steps), 2, 2)
    assert (looked >= 0).all()
    assert (looked.sum((1, 2)) <= 1 + 1e-5).all()
    assert looked.sum() > 0
    prompt = [IMAGE] * 4 + [USER, *TOKENIZER.encode("What is it?"), ASSISTANT]
    written = [step.token for step in answer.steps]
    close(looked, torch.tensor(expected_look(model, chat.image, prompt, written, slice(1, None))), 1e-5)


def test_looked_at_an_earlier_answer(chat):
    first = chat.ask("What is it?")
    before = chat.looked(first)
    second = chat.ask("And now?")
    close(chat.looked(first), before, 1e-6)
    assert len(chat.looked(second)) == len(second.steps)


def test_looked_in_a_model_of_one_layer():
    model = small_gpt4v(layers=1)
    chat = Chat(model, pictures(1)[0])
    answer = chat.ask("What?")
    prompt = [IMAGE] * 4 + [USER, *TOKENIZER.encode("What?"), ASSISTANT]
    written = [step.token for step in answer.steps]
    expected = torch.tensor(expected_look(model, chat.image, prompt, written, slice(None)))
    close(chat.looked(answer), expected, 1e-5)


def test_looked_at_an_empty_answer(chat, monkeypatch):
    speak(monkeypatch)
    assert chat.looked(chat.ask("what")).shape == (0, 2, 2)


def test_looked_refuses_an_answer_of_another_chat(model, chat):
    other = Chat(model, pictures(1)[0]).ask("What is it?")
    with pytest.raises(ValueError, match="is not of this chat: give one that its `ask` returned"):
        chat.looked(other)


def test_looking_changes_nothing_in_a_model_in_training():
    model = small_gpt4v("conv")
    chat = Chat(model, pictures(1)[0])
    answer = chat.ask("What is it?")
    expected = chat.looked(answer)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    close(chat.looked(answer), expected, 1e-6)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_the_picture_is_made_to_fit_and_notes_say_how(model):
    chat = Chat(model, Image.new("L", (40, 20), 128))
    assert chat.image.shape == (3, 16, 16)
    assert any("greyscale" in note for note in chat.notes)
    assert Chat(model, pictures(1)[0]).notes == ()


def test_the_answer_depends_on_the_picture(model):
    first, second = (Chat(model, picture).ask("What is it?") for picture in pictures(2))
    assert [step.probability for step in first.steps] != [step.probability for step in second.steps]


def test_what_is_no_picture_is_refused(model, tmp_path):
    with pytest.raises(PictureError, match="no picture file"):
        Chat(model, tmp_path / "none.png")
    with pytest.raises(PictureError, match="no picture"):
        Chat(model, torch.rand(5, 16, 16))
