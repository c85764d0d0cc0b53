"""Docker apps as a unit: the app's container together with its helpers, such as its database.

The panel only knows containers; labels say which of them belong together (evidence: docker-stacks).

Guess: a container without a stack label is an app by itself. An app runs when all its containers run, and has failed
when its own container has ended. The panel may list the full id of a container where a deployment shows the first
twelve characters, as Docker itself does.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs

from panelica_async.api.bases import Progress, wait_until
from panelica_async.api.resource import Resource, namespace
from panelica_async.core.model import UNSET, Unset
from panelica_async.errors import ConflictError, NotFoundError
from panelica_async.models.docker import Container, Deployment

_STACK_LABEL, _ROLE_LABEL = "panelica.stack", "panelica.template.role"
_OWNER_LABEL, _TEMPLATE_LABEL = "panelica.user_id", "panelica.template"
_SHORT_ID_LENGTH = 12


@attrs.frozen(kw_only=True)
class Stack:
    """An app with all its containers."""

    name: str
    """Name of the stack; that of the container if the app has only one."""
    containers: tuple[Container, ...]
    """Its containers: the app, then its helpers."""

    @property
    def app(self) -> Container:
        """The container of the app itself."""
        return self.containers[0]

    @property
    def helpers(self) -> tuple[Container, ...]:
        """The other containers of the app, such as its database."""
        return self.containers[1:]

    @property
    def owner_user_id(self) -> str | None:
        """Id of the account that owns it, if the panel shows it."""
        return _label(self.app, _OWNER_LABEL)

    @property
    def template(self) -> str | None:
        """Short name of the template that it was deployed from, if the panel shows it."""
        return _label(self.app, _TEMPLATE_LABEL)

    @property
    def is_running(self) -> bool:
        """Whether all its containers run."""
        return all(_state(container) == "running" for container in self.containers)

    @property
    def has_failed(self) -> bool:
        """Whether the container of the app itself has ended."""
        return _state(self.app) in {"exited", "dead"}


class Stacks(Resource):
    """Apps in Docker, each with all its containers. On current panels only."""

    async def deploy(
        self, slug: str, *, owner_user_id: str, container_name: str, env: Mapping[str, Any] | Unset = UNSET
    ) -> Deployment:
        """Deploy an app from a template, as `docker.templates.deploy` does; `wait` returns when it runs.

        The panel continues after a timeout: look for the app with `list` before you deploy it again.

        Args:
            slug: Short name of the template.
            owner_user_id: Id of the account that will own the app.
            container_name: Name of the app. The panel puts the name of the account before it.
            env: Values of the template's variables. One that is required and has no default must be sent.

        Returns:
            The app with its credentials, which are shown only here.

        Raises:
            ValueError: invalid argument; nothing was sent.
            PermissionDeniedError: the plan of the account allows no further container.
            OutcomeUnknownError: sent, outcome unknown.
        """
        arguments = {"owner_user_id": owner_user_id, "container_name": container_name, "env": env}
        return await self._call_one(
            self._runner.get_operation("docker.templates.deploy"), Deployment, slug=slug, **arguments
        )

    async def list(self, *, owner_user_id: str | None = None) -> list[Stack]:
        """Return the apps that the owner of the key sees, with one call.

        Args:
            owner_user_id: Only the apps of this account.
        """
        grouped: dict[tuple[str | None, str], list[Container]] = {}
        async for container in self._paginate(self._runner.get_operation("docker.containers.list"), Container):
            owner = _label(container, _OWNER_LABEL)
            if owner_user_id is None or owner == str(owner_user_id):
                name = _label(container, _STACK_LABEL) or _container_name(container) or container.id
                grouped.setdefault((owner, name), []).append(container)
        return [
            # The app itself has no role, and is sorted before its helpers.
            Stack(name=name, containers=tuple(sorted(containers, key=_has_role)))
            for (_, name), containers in grouped.items()
        ]

    async def get(self, app: str | Deployment, *, owner_user_id: str | None = None) -> Stack:
        """Return an app with its containers.

        Args:
            app: What `deploy` returned; or the name of the stack, or name or id of one of its containers.
            owner_user_id: Only look among the apps of this account.

        Raises:
            ValueError: `app` has neither name nor id.
            NotFoundError: no such app for the owner of this key.
            ConflictError: several apps have this name.
        """
        names = {app} if isinstance(app, str) else {name for name in (app.container_id, app.container_name) if name}
        if not any(name.strip() for name in names):
            raise ValueError("app must be what deploy returned, a name or an id; it has neither")
        matches = [
            stack
            for stack in await self.list(owner_user_id=owner_user_id)
            if stack.name in names or any(_has_name_or_id(container, names) for container in stack.containers)
        ]
        shown_names = " or ".join(sorted(names))
        if not matches:
            problem = f"there is no app {shown_names} among the containers"
            raise NotFoundError(problem, status=404, attempts=0, from_panel=False)
        if len(matches) > 1:
            problem, hint = (
                f"{len(matches)} apps are called {shown_names}",
                "Pass owner_user_id, or the id of a container.",
            )
            raise ConflictError(problem, status=409, attempts=0, from_panel=False, hint=hint)
        return matches[0]

    async def wait(
        self,
        app: str | Deployment,
        *,
        owner_user_id: str | None = None,
        deadline: float = 900.0,
        on_progress: Progress[Stack | None] | None = None,
    ) -> Stack:
        """Wait until an app runs with all its helpers, after `deploy`.

        Only reads, at intervals from 2 to 30 seconds.

        Args:
            app: What `deploy` returned; or the name of the stack, or name or id of one of its containers.
            owner_user_id: Only look among the apps of this account.
            deadline: Seconds to wait.
            on_progress: Called after each read with the app so far, and the seconds that have passed.

        Returns:
            The app. `has_failed` says that it ended instead.

        Raises:
            ValueError: `app` has neither name nor id.
            RequestTimeoutError: not done by the deadline; you may wait again.
        """

        async def read() -> Stack | None:
            try:
                return await self.get(app, owner_user_id=owner_user_id)
            except NotFoundError as error:
                # From the panel, a 404 means that it has no Docker: waiting would not help.
                if error.from_panel:
                    raise
                return None

        stack = await wait_until(
            read,
            lambda stack: stack is not None and (stack.is_running or stack.has_failed),
            deadline=deadline,
            on_progress=on_progress,
            subject=f"the app {app if isinstance(app, str) else app.container_name}",
        )
        assert stack is not None  # noqa: S101 - it is done
        return stack

    async def start(self, app: str | Deployment, *, owner_user_id: str | None = None) -> None:
        """Start an app: its helpers first."""
        stack = await self.get(app, owner_user_id=owner_user_id)
        for container in (*stack.helpers, stack.app):
            await self._call(self._runner.get_operation("docker.containers.start"), id=container.id)

    async def stop(self, app: str | Deployment, *, owner_user_id: str | None = None) -> None:
        """Stop an app: its helpers last."""
        stack = await self.get(app, owner_user_id=owner_user_id)
        for container in stack.containers:
            await self._call(self._runner.get_operation("docker.containers.stop"), id=container.id)

    async def delete(
        self, app: str | Deployment, *, owner_user_id: str | None = None, remove_volumes: bool = False
    ) -> None:
        """Delete an app with all its containers. If it fails half-way, call it again to delete the rest.

        Args:
            app: What `deploy` returned; or the name of the stack, or name or id of one of its containers.
            owner_user_id: Only look among the apps of this account.
            remove_volumes: Whether to delete its data as well.

        Raises:
            ValueError: `app` has neither name nor id.
            NotFoundError: no such app for the owner of this key.
            ConflictError: several apps have this name; nothing was deleted.
        """
        stack = await self.get(app, owner_user_id=owner_user_id)
        get_operation = self._runner.get_operation
        if _state(stack.app) == "running":
            await self._call(get_operation("docker.containers.stop"), id=stack.app.id)
        # Delete the app last: after a failure, it is still needed to find the stack.
        for container in (*stack.helpers, stack.app):
            with suppress(NotFoundError):
                await self._call(
                    get_operation("docker.containers.delete"),
                    id=container.id,
                    force=True,
                    **({"remove_volumes": True} if remove_volumes else {}),
                )


class DockerApps(Resource):
    """The part of `panel.docker` that goes beyond the endpoints of the panel."""

    stacks: Stacks = namespace("panelica_async.api.stacks:Stacks")
    """Apps, each with all its containers."""


def _label(container: Container, name: str) -> str | None:
    value = (container.labels or {}).get(name)
    return str(value) if value else None


def _has_role(container: Container) -> bool:
    return _label(container, _ROLE_LABEL) is not None


def _state(container: Container) -> str:
    return (container.state or "").lower()


def _container_name(container: Container) -> str:
    return (container.name or "").removeprefix("/")


def _has_name_or_id(container: Container, names: set[str]) -> bool:
    return any(
        name.removeprefix("/") == _container_name(container)
        or name == container.id
        or (len(name) >= _SHORT_ID_LENGTH and container.id.startswith(name))
        for name in names
    )
