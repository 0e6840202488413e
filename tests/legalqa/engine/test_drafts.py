import pytest
from hypothesis import given
from hypothesis import strategies as st

from legalqa.engine import drafts
from legalqa.engine.drafts import Drafts, Phrases


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


def test_phrases_give_the_most_frequent_follower_of_the_longest_known_end() -> None:
    phrases = Phrases(
        [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 5], [9, 2, 3, 5], [8, 2, 3, 5], [7, 3, 6], [7, 3, 6], [7, 3, 6], [7, 3, 6]]
    )
    assert phrases.after([1, 2, 3]) == 4
    assert phrases.after([0, 1, 2, 3]) == 4  # only the last three count
    assert phrases.after([6, 2, 3]) == 5  # new, but its last two are not
    assert phrases.after([6, 6, 3]) == 6
    assert phrases.after([3]) == 6
    assert phrases.after([1, 2, 4]) is None
    assert phrases.after([]) is None


def test_a_rare_follower_is_not_guessed_the_shorter_end_is() -> None:
    many = [[1, 2, 3, token] for token in range(10, 18)]
    assert Phrases(many).after([1, 2, 3]) is None
    assert Phrases([*many, *[[9, 3, 4]] * 5]).after([1, 2, 3]) == 4


def test_phrases_end_with_their_text() -> None:
    phrases = Phrases([[1, 2], [], [3], [4, 5]])
    assert [phrases.after([token]) for token in (1, 2, 3, 4)] == [2, None, None, 5]
    assert Phrases([]).after([1, 2, 3]) is None


@given(
    st.lists(st.lists(st.sampled_from([0, 1, 2, 3, 2**21 - 1]), max_size=12), max_size=6),
    st.lists(st.sampled_from([0, 1, 2, 3, 2**21 - 1]), max_size=4),
)
def test_phrases_say_what_counting_says(texts: list[list[int]], end: list[int]) -> None:
    expected = None
    for size in range(min(len(end), drafts.KEY), 0, -1):
        followers = [text[at] for text in texts for at in range(size, len(text)) if text[at - size : at] == end[-size:]]
        if followers:
            best = min(set(followers), key=lambda token: (-followers.count(token), token))
            if followers.count(best) > drafts.SHARE * len(followers):
                expected = best
                break
    assert Phrases(texts).after(end) == expected


def test_phrases_of_as_many_tokens_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MOST_TOKENS", 5)
    phrases = Phrases.of(iter(["ab", "cdef", "gh"]), lambda text: [ord(letter) for letter in text])
    assert [phrases.after([ord(letter)]) for letter in "acdeg"] == [ord("b"), ord("d"), ord("e"), None, None]


def test_the_own_text_comes_before_phrases_which_go_on_where_it_ends() -> None:
    phrases = Phrases([[1, 2, 3, 9], [3, 7, 8, 5, 6]])
    repeating = Drafts([1, 2, 3, 7, 1, 2, 3], phrases)
    assert repeating.guess(1) == [7]
    assert repeating.guess(6) == [7, 1, 2, 3, 9]
    assert Drafts([4, 7, 8], phrases).guess(6) == [5, 6]
    assert Drafts([4], phrases).guess(6) == []
