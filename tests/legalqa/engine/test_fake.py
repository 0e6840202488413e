import time
from dataclasses import replace

from legalqa.engine.fake import FakeEngine
from legalqa.engine.interface import GenerationRequest
from legalqa.prompt import Prompt

REQUEST = GenerationRequest((1,), 20)


def test_says_what_it_is_told_to_and_remembers_what_it_was_asked(prompt: Prompt) -> None:
    engine = FakeEngine(prompt, reply=lambda request: "答" * len(request.prompt_ids))
    assert not engine.health().ready
    engine.start()
    assert engine.health().ready
    completions = engine.generate_many([REQUEST, replace(REQUEST, prompt_ids=(1, 2), max_new_tokens=1)])
    assert [(c.text, c.finish_reason) for c in completions] == [("答", "stop"), ("答", "length")]
    assert len(engine.requests) == 2


def test_faults(prompt: Prompt) -> None:
    engine = FakeEngine(prompt)
    engine.start()
    engine.fault, engine.fault_after = "error", 2
    failed = engine.generate_many([REQUEST])[0]
    assert (len(failed.text), failed.finish_reason, failed.error) == (2, "error", "told to fail")
    engine.fault = "dead"
    assert not engine.health().alive
    engine.fault, engine.seconds_a_token = "", 0.02
    late = engine.generate_many([replace(REQUEST, deadline=time.monotonic() + 0.03)])[0]
    assert late.finish_reason == "deadline"
