import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "development: needs the tools of development, not only what the package runs on")
