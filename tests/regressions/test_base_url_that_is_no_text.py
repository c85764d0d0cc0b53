"""A base_url of the wrong type has another message than an empty one."""

from typing import Any

import pytest
from yarl import URL

from panelica_async import ConfigurationError, PanelicaClient


def test_base_url_that_is_no_string_is_refused() -> None:
    url: Any = URL("https://panel.example.com")
    with pytest.raises(ConfigurationError, match="base_url must be a string, not URL"):
        PanelicaClient(url, api_key="pk_x", api_secret="sk_x")
