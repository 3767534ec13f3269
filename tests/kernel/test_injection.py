"""What a function's signature says, worked out once."""

from __future__ import annotations

import gc
from typing import Annotated
from weakref import ref

import pytest

from rooftree.errors import Unavailable
from rooftree.services import Service, ServiceDirectory
from rooftree.services.injection import parameters, type_hints


class Greeter:
    def greet(self, name: str, times: Annotated[int, "how often"] = 1) -> str:
        return name * times

    def mumble(self, what) -> None:  # type: ignore[no-untyped-def]
        """Does not say what it takes."""


def greet(greeter: Greeter, name: str) -> None: ...


def test_parameters_are_worked_out_once_for_each_number_that_is_left_out() -> None:
    every, rest = parameters(greet), parameters(greet, 1)

    assert [(one.name, one.kind) for one in every] == [("greeter", Greeter), ("name", str)]
    assert [one.name for one in rest] == ["name"]
    assert (parameters(greet) is every, parameters(greet, 1) is rest) == (True, True)


def test_method_of_an_object_has_the_parameters_of_its_class_but_self() -> None:
    greeter = Greeter()
    every = parameters(greeter.greet)

    assert [(one.name, one.required) for one in every] == [("name", True), ("times", False)]
    assert every[1].kind == Annotated[int, "how often"]
    assert parameters(greeter.greet) is every
    assert parameters(Greeter().greet) is every
    assert [one.name for one in parameters(greeter.greet, 1)] == ["times"]


def test_parameter_without_a_type_is_refused_unless_it_is_left_out() -> None:
    with pytest.raises(TypeError, match=r"Greeter\.mumble: parameter what needs a type"):
        parameters(Greeter().mumble)

    assert parameters(Greeter().mumble, 1) == ()


def test_function_that_is_gone_is_not_kept() -> None:
    def passing(name: str) -> str:
        return name

    assert type_hints(passing) == {"name": str, "return": str}
    gone = ref(passing)
    del passing
    gc.collect()

    assert gone() is None


def test_key_of_a_class_that_is_only_named_is_refused_where_it_is_made() -> None:
    with pytest.raises(TypeError, match=r"Service\['Clock'\]: name the class itself, Service\[Clock\], below where"):
        Service["Clock"]("clock/1")


def test_functions_of_another_package_get_no_plugin_by_its_class() -> None:
    class Speed:
        pass

    directory, speed = ServiceDirectory(), Speed()
    directory.run(speed, "speed")

    assert directory.beside_running(f"{__name__}.steps").get_by_kind(Speed) is speed
    for others in (directory, directory.beside_running("stranger.steps")):
        with pytest.raises(Unavailable, match="No enabled plugin provides Speed"):
            others.get_by_kind(Speed)

    directory.withdraw("speed")
    with pytest.raises(Unavailable, match="No enabled plugin provides Speed"):
        directory.beside_running(__name__).get_by_kind(Speed)
