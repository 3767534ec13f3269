"""What every container engine promises of images: the part of :mod:`rooftree.testing.container_engine_contract` that
needs no container to run."""

# ruff: noqa: D102  # a test's name says what it is about

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree.interfaces.containers import (
    BuildFailed,
    ImageImportRefused,
    ImageNotFound,
    Progress,
)
from rooftree.testing.container_engine_world import NAME, World


class ContainerImagesContract:
    """The promises about images."""

    async def test_pull_brings_an_image_and_says_how_far_it_is(self, world: World) -> None:
        before = await world.engine.image(world.published)

        seen: list[Progress] = [progress async for progress in world.engine.pull(world.published)]

        after = await world.engine.image(world.published)
        assert before is None
        assert after is not None
        assert after.id.startswith("sha256:")
        assert world.published in after.tags
        assert all(0 <= progress.done <= progress.total for progress in seen)
        assert seen[-1].done == seen[-1].total

    async def test_pull_of_an_unknown_image_says_so(self, world: World) -> None:
        with pytest.raises(ImageNotFound):
            async for _ in world.engine.pull(world.unpublished):
                pass

        assert await world.engine.image(world.unpublished) is None

    async def test_size_of_a_pull_is_that_of_the_packed_image_and_not_known_of_an_unknown_one(
        self, world: World
    ) -> None:
        size = await world.engine.size_of_pull(world.published)
        unknown = await world.engine.size_of_pull(world.unpublished)

        async for _ in world.engine.pull(world.published):
            pass

        fetched = await world.engine.image(world.published)
        assert unknown is None
        assert fetched is not None and size is not None
        assert 1_000 < size <= fetched.size + 64 * 1024  # it travels packed, with its description beside it

    async def test_image_is_removed_once_no_container_uses_it(self, world: World) -> None:
        async for _ in world.engine.pull(world.published):
            pass
        await world.engine.create(world.spec(image=world.published))

        while_used = await world.engine.remove_image(world.published)
        await world.engine.remove(NAME)
        when_free = await world.engine.remove_image(world.published)
        when_gone = await world.engine.remove_image(world.published)

        assert (while_used, when_free, when_gone) == (False, True, False)
        assert await world.engine.image(world.published) is None

    async def test_very_image_is_fetched_by_its_digest_and_named_by_its_tag(self, world: World) -> None:
        async for _ in world.engine.pull(world.published):
            pass
        first = await world.engine.image(world.published)
        assert first is not None
        (digest,) = {known.rpartition("@")[2] for known in first.digests}
        await world.engine.remove_image(world.published)

        async for _ in world.engine.pull(f"{world.published}@{digest}"):
            pass
        again = await world.engine.image(world.published)
        with pytest.raises(ImageNotFound):
            async for _ in world.engine.pull(f"{world.published}@sha256:{'0' * 64}"):
                pass

        assert again is not None and again.id == first.id

    async def test_image_is_kept_under_a_further_name_when_its_own_goes(self, world: World) -> None:
        async for _ in world.engine.pull(world.published):
            pass
        kept = "contract-kept:1"
        fetched = await world.engine.image(world.published)

        await world.engine.tag_image(world.published, kept)
        await world.engine.remove_image(world.published)
        image = await world.engine.image(kept)
        await world.engine.tag_image(kept, world.published)
        back = await world.engine.image(world.published)

        assert fetched is not None and image is not None and back is not None
        assert fetched.id == image.id == back.id
        assert await world.engine.remove_image(kept)
        with pytest.raises(ImageNotFound):
            await world.engine.tag_image(kept, world.published)

    async def test_build_makes_an_image_with_its_labels(self, world: World) -> None:
        folder = await world.folder({"Dockerfile": "FROM base\nARG WHO\nRUN true\n"})
        image = "local/contract-built:1"
        building = world.engine.build(
            image, folder, dockerfile="Dockerfile", arguments={"WHO": "me"}, labels={"io.example": "yes"}
        )

        seen = [progress async for progress in building]

        built = await world.engine.image(image)
        assert built is not None
        assert built.labels["io.example"] == "yes"
        assert seen[-1].done == seen[-1].total
        assert await world.engine.remove_image(image)

    async def test_build_that_breaks_says_where_and_leaves_no_image(self, world: World) -> None:
        folder = await world.folder({"Dockerfile": "FROM base\nRUN false\n"})
        image = "local/contract-broken:1"
        building = world.engine.build(image, folder, dockerfile="Dockerfile", arguments={}, labels={})

        with pytest.raises(BuildFailed, match="RUN false"):
            async for _ in building:
                pass

        assert await world.engine.image(image) is None

    async def test_exported_image_is_imported_again_under_its_name_and_no_other(
        self, world: World, tmp_path: Path
    ) -> None:
        image, file = world.published, tmp_path / "image.tar"
        async for _ in world.engine.pull(image):
            pass
        before = await world.engine.image(image)
        await world.engine.export_image(image, file)
        await world.engine.remove_image(image)

        with pytest.raises(ImageImportRefused):
            await world.engine.import_image(world.unpublished, file)
        gone = await world.engine.image(image)
        await world.engine.import_image(image, file)

        after = await world.engine.image(image)
        assert gone is None
        assert await world.engine.image(world.unpublished) is None
        assert before is not None and after is not None
        assert (after.id, after.labels) == (before.id, before.labels)

    async def test_what_is_no_image_is_not_exported_and_not_imported(self, world: World, tmp_path: Path) -> None:
        empty = tmp_path / "empty.tar"
        empty.touch()

        with pytest.raises(ImageNotFound):
            await world.engine.export_image(world.unpublished, tmp_path / "image.tar")
        with pytest.raises(ImageImportRefused):
            await world.engine.import_image(world.unpublished, empty)
