from legalqa.engine.drafts import Drafts


def test_guesses_what_followed_the_same_tokens_the_last_time() -> None:
    drafts = Drafts([1, 2, 3, 4, 5, 9, 1, 2, 3])
    assert drafts.guess(2) == [4, 5]
    assert drafts.guess(10) == [4, 5, 9, 1, 2, 3]
    for token in (7, 8, 1, 2, 3):
        drafts.append(token)
    assert drafts.guess(2) == [7, 8]


def test_nothing_to_guess_from() -> None:
    assert Drafts([]).guess(4) == []
    assert Drafts([1, 2]).guess(4) == []
    assert Drafts([1, 2, 3, 4]).guess(4) == []
    assert Drafts([1, 2, 3, 4, 1, 2, 3]).guess(0) == []
