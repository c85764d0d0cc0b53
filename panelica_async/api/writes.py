"""Calls that write an object and return it, also where the reply shows little of it, or none came back."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, TypeVar

from panelica_async.api.calls import fetch_one, rows_of
from panelica_async.api.completion import Written, completed, has_own_id, read_written
from panelica_async.api.recovery import LostCreate, find_made, look_up
from panelica_async.api.runner import OperationRunner, decode_reply
from panelica_async.core.model import Model
from panelica_async.core.operation import NaturalKey, Operation, Wire
from panelica_async.core.unset import provided
from panelica_async.errors import OutcomeUnknownError, PanelicaError
from panelica_async.transport.call import Call, Reply

M = TypeVar("M", bound=Model)

_log = logging.getLogger("panelica_async")


async def write_one(
    runner: OperationRunner, operation: Operation, wire: Wire, arguments: Mapping[str, Any], result: type[M]
) -> M:
    """Call an operation that writes; a success with a sparse reply is still a success."""
    key = operation.natural_key
    call = runner.prepare(operation, wire, arguments)

    def read(reply: Reply) -> "Written[M]":  # in quotes, or each call would evaluate it
        return read_written(decode_reply(call, reply), operation, wire, arguments, result)

    # A function, because a partial would show the arguments in a traceback with local variables.
    async def recover(call: Call, error: OutcomeUnknownError) -> "Written[M]":
        if key is None or not runner.options.look_up_lost or runner.dialect.known not in key.lookup.wires:
            raise error
        return await _recover(runner, key, result, arguments, call, error)

    written = await runner.run(call, read, recover)
    if not written.unknown:
        return written.made
    return await _completed(runner, written, operation, wire, arguments, call)


async def _completed(
    runner: OperationRunner,
    written: Written[M],
    operation: Operation,
    wire: Wire,
    arguments: Mapping[str, Any],
    call: Call,
) -> M:
    """Return what was written, read again where the reply lacks what every caller needs.

    A failed look-up does not change the success: what is unknown stays empty.
    """
    if written.missing_secrets:
        _log.warning(
            "%s succeeded, but the reply lacks %s, shown only once: make a new one",
            operation.name,
            " and ".join(written.missing_secrets),
        )
    if not runner.options.look_up_lost:
        return written.made
    try:
        async with asyncio.timeout_at(call.deadline_at):
            shown = await _look(runner, written, operation, arguments, call.sent_at)
        return written.made if shown is None else completed(shown, operation, wire, arguments)
    except (PanelicaError, TimeoutError, ValueError):
        return written.made


async def _look(
    runner: OperationRunner,
    written: Written[M],
    operation: Operation,
    arguments: Mapping[str, Any],
    sent_at: float | None,
) -> M | None:
    """Return what was written as the panel shows it now; None when it cannot be identified."""
    key = operation.natural_key
    reader = operation.shown_by if key is None else key.lookup
    if reader is None or runner.dialect.known not in reader.wires:
        return None
    wire = runner.wire(reader)
    parents = {name: arguments[name] for name in wire.placeholders if name in arguments}
    made, own_id = written.made, written.own_id
    made_id = getattr(made, "id", None)
    if made_id and wire.path.endswith("}"):
        return await fetch_one(runner, reader, wire, {**parents, wire.placeholders[-1]: made_id}, type(made))
    if made_id:
        rows = rows_of(runner, reader, type(made), parents)
        return await anext((row async for row in rows if getattr(row, "id", None) == made_id), None)
    if own_id is not None:
        rows = rows_of(runner, reader, type(made), parents)
        return await anext((row async for row in rows if has_own_id(row, own_id)), None)
    if key is None or sent_at is None:
        return None
    create = LostCreate(key=key, wire=wire, given=provided(arguments), sent_at=sent_at, clock=runner.transport.clock)
    return await find_made(create, rows_of(runner, reader, type(made), create.filters))


async def _recover(
    runner: OperationRunner,
    key: NaturalKey,
    result: type[M],
    arguments: Mapping[str, Any],
    call: Call,
    error: OutcomeUnknownError,
) -> Written[M]:
    """Find what a create whose reply was lost has made, or raise its error."""
    left, sent_at, settle = call.time_left, call.sent_at, runner.transport.waits.settle
    if sent_at is None or (left is not None and left <= settle):
        raise error
    asked, wire = provided(arguments), runner.wire(key.lookup)
    lost = LostCreate(key=key, wire=wire, given=asked, sent_at=sent_at, clock=runner.transport.clock)
    rows = rows_of(runner, key.lookup, result, lost.filters)

    async def owner() -> str | None:
        return await _owner_name(runner, asked)

    return Written(await look_up(lost, rows, owner, error, settle, call.deadline_at))


async def _owner_name(runner: OperationRunner, arguments: Mapping[str, Any]) -> str | None:
    """Return the user name of the account that an object is for; None when the arguments do not name one."""
    # Models are loaded when a call is made.
    from panelica_async.models.accounts import Account  # noqa: PLC0415
    from panelica_async.models.domains import Domain  # noqa: PLC0415

    async def get(name: str, id: object, result: type[M]) -> M:
        operation = runner.get_operation(name)
        return await fetch_one(runner, operation, runner.wire(operation), {"id": id}, result)

    user_id, domain_id = arguments.get("user_id"), arguments.get("domain_id")
    if user_id is None and domain_id is not None:
        user_id = (await get("domains.get", domain_id, Domain)).user_id
        if user_id is None:
            # What a single domain shows is not confirmed; the list shows the owner (evidence: domains-list).
            domains = rows_of(runner, runner.get_operation("domains.list"), Domain)
            user_id = await anext((row.user_id async for row in domains if row.id == str(domain_id)), None)
    return None if user_id is None else (await get("accounts.get", user_id, Account)).username
