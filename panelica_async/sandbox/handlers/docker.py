"""Docker: app templates, the containers made from them, and the domains that are linked to containers.

Templates and containers have the forms that were seen (evidence: docker-templates, docker-template-fields,
docker-containers).

Guesses: three templates; an app is there at once; figures of usage; what a running container answers to a deletion
without `force`; how the panel counts containers against a plan.
"""

import itertools
import json
import secrets
from collections.abc import Mapping
from typing import Any

import attrs

from panelica_async.sandbox.handlers.accounts import plan_allows_more
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, acknowledgement, get, handles
from panelica_async.sandbox.handlers.objects import Owned, add, change, find, objects, remove
from panelica_async.sandbox.messages import CustomBodyError, conflict, not_found, panel_error, validator_error
from panelica_async.sandbox.store import Row, timestamp

_MIB = 1024 * 1024
_FIRST_PORT = 8092
_RUNNING = {"state": "running", "status": "Up 2 hours", "cpu_percent": 0.5}
_STOPPED = {"state": "exited", "status": "Exited (0) 1 second ago", "cpu_percent": 0.0, "mem_usage": 0}


@attrs.frozen(kw_only=True)
class _Template:
    """An app that can be deployed."""

    row: Row
    """What the list shows."""
    image: str
    variables: tuple[Row, ...] = ()
    helpers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Images of further containers, by what they do for the app."""


def _variable(key: str, default: str = "", *, required: bool = False, secret: bool = False) -> Row:
    return {"key": key, "required": required, "default": default, "secret": secret}


def _template_row(slug: str, name: str, category: str, *, memory_mb: int, linked: Any) -> Row:
    return {
        "slug": slug,
        "name": name,
        "description": f"{name} in a container",
        # About three quarters of the templates of a panel have no logo.
        "logo_url": f"https://panel.example.com/logos/{slug}.svg" if slug == "ghost" else None,
        "categories": [category],
        "min_memory_mb": memory_mb,
        "min_cpu_percent": 25,
        "is_popular": slug == "ghost",
        "deploy_count": 42,
        "linked_services": linked,
        "website_url": f"https://{slug}.example.org",
        "documentation_url": f"https://{slug}.example.org/docs",
    }


_TEMPLATES = (
    _Template(
        row=_template_row("ghost", "Ghost", "cms", memory_mb=512, linked='["mysql"]'),
        image="ghost:5",
        variables=(_variable("url", required=True), _variable("ADMIN_PASSWORD", secret=True)),
        helpers={"database": "mysql:8"},
    ),
    _Template(
        row=_template_row("n8n", "n8n", "automation", memory_mb=256, linked=[]),
        image="n8nio/n8n:1",
        variables=(_variable("TZ", "UTC", required=True),),
    ),
    _Template(
        row=_template_row("uptime-kuma", "Uptime Kuma", "monitoring", memory_mb=128, linked=[]),
        image="louislam/uptime-kuma:1",
    ),
)


@handles("GET /v1/docker/templates")
def list_templates(call: ApiCall) -> ApiReply:
    """Return the templates; for an account, only what its plan allows."""
    allowed = True
    if owner := call.query.get("owner_user_id"):
        allowed = plan_allows_more(call, get(call, "account", owner)["id"], "max_containers", 0)
    return ApiReply({"templates": [template.row for template in _TEMPLATES] if allowed else []})


@handles("GET /v1/docker/templates/{slug}")
def get_template(call: ApiCall) -> ApiReply:
    """Return one template with its variables, as JSON in a text, as panels may send them."""
    template = _template(call)
    return ApiReply({"template": {**template.row, "env_vars": json.dumps(template.variables)}})


@handles("POST /v1/docker/templates/{slug}/deploy")
def deploy(call: ApiCall) -> ApiReply:
    """Create the containers of an app; only this reply shows its credentials."""
    template = _template(call)
    owner = get(call, "account", call.body["owner_user_id"])
    count = len(objects(call, "container", user_id=owner["id"]))
    if not plan_allows_more(call, owner["id"], "max_containers", 0):
        raise panel_error("apiErrors.docker.disabledInPlan", "docker is not part of the plan", status=403)
    if not plan_allows_more(call, owner["id"], "max_containers", count):
        raise panel_error("Failed to deploy", "container limit reached", status=403)
    name = f"{owner['username']}_{call.body['container_name']}"
    if any(item.fields["name"] == f"/{name}" for item in objects(call, "container")):
        raise conflict("container")
    env, credentials = _environment(call, template)
    stack = _Stack(call, template, owner["id"], name, f"{name}-{secrets.token_hex(3)}")
    for role, image in template.helpers.items():
        stack.add(image, role)
    app = stack.add(template.image, env=env)
    port = app.fields["ports"][0]["host_port"]
    return ApiReply(
        {
            "container_id": app.id,
            "container_name": name,
            "access_url": f"http://panel.example.com:{port}",
            "credentials": credentials,
            "post_install_notes": f"{template.row['name']} needs about a minute for its first start.",
        }
    )


@handles("GET /v1/docker/containers")
def list_containers(call: ApiCall) -> ApiReply:
    """Return the containers that the owner of the key sees."""
    return ApiReply({"containers": [item.shown for item in objects(call, "container")]})


@handles("GET /v1/docker/containers/{id}")
def get_container(call: ApiCall) -> ApiReply:
    """Return ports, environment and mounts (evidence: docker-container-details)."""
    item = _container(call)
    volume = item.fields["name"].removeprefix("/")
    mount = {"type": "volume", "source": volume, "destination": "/data", "rw": True}
    return ApiReply({"ports": item.fields["ports"], "env": item.fields["_env"], "mounts": [mount]})


@handles("GET /v1/docker/containers/{id}/stats")
def container_stats(call: ApiCall) -> ApiReply:
    """Return processor and memory usage."""
    fields = _container(call).fields
    return ApiReply({name: fields[name] for name in ("cpu_percent", "mem_usage", "mem_limit")})


@handles("POST /v1/docker/containers/{id}/start")
def start(call: ApiCall) -> ApiReply:
    """Start a container; one that runs keeps running."""
    return _set_state(call, _RUNNING, "Container started")


@handles("POST /v1/docker/containers/{id}/stop")
def stop(call: ApiCall) -> ApiReply:
    """Stop a container."""
    return _set_state(call, _STOPPED, "Container stopped")


@handles("POST /v1/docker/containers/{id}/restart")
def restart(call: ApiCall) -> ApiReply:
    """Restart a container."""
    return _set_state(call, _RUNNING, "Container restarted")


@handles("DELETE /v1/docker/containers/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete one container, although its app may need it (evidence: docker-stacks)."""
    item = _container(call)
    if item.fields["state"] == "running" and not call.query.get("force"):
        raise CustomBodyError(409, message="container is running: stop it, or use force")
    for link in objects(call, "container_link"):
        if link.fields["container_id"] == item.id:
            remove(call, link)
    remove(call, item)
    return acknowledgement("Container deleted")


@handles("POST /v1/docker/domains/link")
def link_domain(call: ApiCall) -> ApiReply:
    """Serve a container on a domain; it must run (evidence: docker-links)."""
    domain, container = _domain(call), find(call, "container", call.body["container_id"])
    if container.user_id != call.body["owner_user_id"]:
        raise not_found("container", container.id)
    if container.fields["state"] != "running":
        raise CustomBodyError(400, message="apiErrors.docker.containerNotRunning")
    _unlink(call, domain)
    name = container.fields["name"].removeprefix("/")
    fields = {"domain_id": domain["id"], "container_id": container.id, "container_name": name}
    add(call, "container_link", fields, user_id=domain["user_id"], domain_id=domain["id"])
    return ApiReply({"domain": domain["domain_name"]})


@handles("POST /v1/docker/domains/unlink")
def unlink_domain(call: ApiCall) -> ApiReply:
    """Serve the domain itself again."""
    _unlink(call, _domain(call))
    return acknowledgement("Domain unlinked")


@handles("GET /v1/docker/domains/linked")
def list_links(call: ApiCall) -> ApiReply:
    """Return the domains that serve containers, those of one account if the query names it."""
    owner = call.query.get("owner_user_id")
    links = objects(call, "container_link", **({"user_id": owner} if owner else {}))
    return ApiReply([link.fields for link in links])


def _template(call: ApiCall) -> _Template:
    for template in _TEMPLATES:
        if template.row["slug"] == call.path["slug"]:
            return template
    raise not_found("template", call.path["slug"])


def _environment(call: ApiCall, template: _Template) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables of an app, and those of them that are secret, which the panel makes up if they are empty.

    Raises:
        ApiError: 400, a required variable has no value (evidence: docker-templates).
    """
    sent: dict[str, Any] = call.body.get("env", {})
    env = {**{variable["key"]: variable["default"] for variable in template.variables}, **sent}
    secret = [variable["key"] for variable in template.variables if variable["secret"]]
    for key in secret:
        env[key] = env[key] or secrets.token_urlsafe(12)
    empty = [variable["key"] for variable in template.variables if variable["required"] and not env[variable["key"]]]
    if empty:
        raise validator_error(call.endpoint.operation, [(f"env.{key}", "required") for key in empty])
    return {key: str(value) for key, value in env.items()}, {key: str(env[key]) for key in secret}


@attrs.frozen
class _Stack:
    """The containers of one app."""

    call: ApiCall
    template: _Template
    owner_id: str
    app_name: str
    name: str
    """What its labels call it."""

    def add(self, image: str, role: str = "", env: Mapping[str, str] | None = None) -> Owned:
        """Create a container; only that of the app itself, which has no role, has a port on the host."""
        port = {"host_port": "" if role else _free_port(self.call), "container_port": "80", "protocol": "tcp"}
        memory = self.template.row["min_memory_mb"] * _MIB
        fields = {
            "name": f"/{self.app_name}_{role}" if role else f"/{self.app_name}",
            "image": image,
            **_RUNNING,
            "mem_usage": memory // 2,
            "mem_limit": memory,
            "ports": [port],
            "labels": {
                "panelica.user_id": self.owner_id,
                "panelica.template": self.template.row["slug"],
                "panelica.stack": self.name,
                "panelica.template.role": role,
            },
            "created": timestamp(self.call.now),
            "_env": [f"{key}={value}" for key, value in (env or {}).items()],
        }
        return add(self.call, "container", fields, user_id=self.owner_id, identity=secrets.token_hex(6))


def _free_port(call: ApiCall) -> str:
    rows = call.store.rows("SELECT data FROM panel_objects WHERE kind = 'container'")
    used = {port["host_port"] for row in rows for port in row["data"]["ports"]}
    return next(port for number in itertools.count(_FIRST_PORT) if (port := str(number)) not in used)


def _container(call: ApiCall) -> Owned:
    """Return the container of the path, by its id or name (evidence: ids)."""
    wanted = call.path["id"]
    for item in objects(call, "container"):
        if wanted in {item.id, item.fields["name"], item.fields["name"].removeprefix("/")}:
            return item
    raise not_found("container", wanted)


def _set_state(call: ApiCall, state: Row, message: str) -> ApiReply:
    item = _container(call)
    usage = {"mem_usage": item.fields["mem_limit"] // 2, **state}
    change(call, item, **usage)
    return acknowledgement(message)


def _domain(call: ApiCall) -> Row:
    """Return the domain of the body, which must belong to the account of the body."""
    domain = get(call, "domain", call.body["domain_id"])
    if domain["user_id"] != call.body["owner_user_id"]:
        raise not_found("domain", domain["id"])
    return domain


def _unlink(call: ApiCall, domain: Row) -> None:
    for link in objects(call, "container_link", domain_id=domain["id"]):
        remove(call, link)
