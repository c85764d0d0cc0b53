"""What a docstring says of errors is what the client raises."""

import importlib
import pkgutil
from operator import attrgetter

import pytest

import panelica_async.resources
from panelica_async import PanelicaClient
from panelica_async.core.operation import Operation, Repeat

OPERATIONS = {
    operation.name: operation
    for module in pkgutil.iter_modules(panelica_async.resources.__path__, "panelica_async.resources.")
    for operation in vars(importlib.import_module(module.name)).values()
    if isinstance(operation, Operation)
}


@pytest.fixture
def panel() -> PanelicaClient:
    return PanelicaClient("panel.example.com", api_key="pk_x", api_secret="sk_x")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_lost_write_is_announced(panel: PanelicaClient, name: str) -> None:
    # A write that is safe to repeat is in doubt too once its retries are spent.
    promised = "OutcomeUnknownError:" in attrgetter(name)(panel).__doc__
    assert promised == (OPERATIONS[name].repeat is not Repeat.READ)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_reply_that_does_not_fit_is_announced(panel: PanelicaClient, name: str) -> None:
    assert "DecodeError:" in attrgetter(name)(panel).__doc__
