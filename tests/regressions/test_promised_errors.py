"""The client raises the errors that its docstrings name."""

from operator import attrgetter

import pytest

import panelica_async.errors
from panelica_async import PanelicaClient
from panelica_async.core.operation import Repeat
from panelica_async.resources.registry import MODULES, get_operation

OPERATIONS = {name: get_operation(name) for name in MODULES}
EVERY_CALL = (
    "ConfigurationError",
    "AuthenticationError",
    "MissingScopeError",
    "RateLimitedError",
    "RateLimitWaitError",
    "ServerError",
    "DecodeError",
    "TransportError",
)


@pytest.fixture
def panel() -> PanelicaClient:
    return PanelicaClient("panel.example.com", api_key="pk_x", api_secret="sk_x")


@pytest.mark.parametrize("name", OPERATIONS)
def test_unknown_outcome_is_promised_by_writes_alone(panel: PanelicaClient, name: str) -> None:
    # Even a write that is safe to repeat has an unknown outcome once its retries are spent.
    promised = "OutcomeUnknownError:" in attrgetter(name)(panel).__doc__
    assert promised == (OPERATIONS[name].repeat is not Repeat.READ)


@pytest.mark.parametrize("name", EVERY_CALL)
def test_errors_of_every_call_are_described_once(panel: PanelicaClient, name: str) -> None:
    described = (panelica_async.errors.__doc__ or "").partition("Every call can raise:")[2]
    assert f"`{name}`:" in described
    for method in OPERATIONS:
        assert f" {name}:" not in attrgetter(method)(panel).__doc__, method
