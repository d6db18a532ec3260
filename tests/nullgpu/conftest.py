"""What every test here needs: a C compiler, for the null GPU's library."""

import build
import pytest


@pytest.fixture(scope="session", autouse=True)
def library() -> None:
    if build.compiler() is None:
        pytest.skip("no C compiler to make the null GPU with")
    build.build()
