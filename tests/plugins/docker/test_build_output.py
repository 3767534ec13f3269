"""A build's output is told line by line and step by step."""

from __future__ import annotations

from rooftree_docker.build_output import BuildOutput


def test_steps_are_counted_and_lines_put_together() -> None:
    output = BuildOutput()

    told = [*output.feed({"stream": "Step 1/2 : FROM x\n"}), *output.feed({"stream": " ---> a"})]
    told += [*output.feed({"stream": "bc\nStep 2/2 : RUN y\n"}), *output.finished()]

    assert [progress.line for progress in told] == ["Step 1/2 : FROM x", " ---> abc", "Step 2/2 : RUN y", ""]
    assert [(progress.done, progress.total) for progress in told] == [(0, 2), (0, 2), (1, 2), (2, 2)]


def test_error_ends_with_the_last_twenty_lines() -> None:
    output = BuildOutput()
    list(output.feed({"stream": "Step 3/5 : RUN make\n" + "".join(f"line {number}\n" for number in range(50))}))

    message = output.failed("returned a non-zero code: 2")

    assert message.startswith(" at step 3 of 5: returned a non-zero code: 2\n")
    assert message.splitlines()[1:] == [f"line {number}" for number in range(30, 50)]


def test_colours_and_overwritten_progress_bars_are_left_out() -> None:
    (told,) = BuildOutput().feed({"stream": "10%\r100%\x1b[32m done\x1b[0m\n"})

    assert told.line == "100% done"
