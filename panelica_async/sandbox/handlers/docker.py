"""Docker: app templates, the containers made from them, and the domains that are linked to containers.

Templates and containers have the forms that were seen (evidence: docker-templates, docker-template-fields,
docker-containers).

Guesses: three templates; an app is deployed at once; figures of usage; the refusal to delete a running container
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
from panelica_async.sandbox.handlers.objects import (
    OwnedObject,
    add_object,
    delete_object,
    get_object,
    list_objects,
    update_object,
)
from panelica_async.sandbox.messages import CustomBodyError, conflict, not_found, panel_error, validator_error
from panelica_async.sandbox.store import Row, timestamp

_MIB = 1024 * 1024
_FIRST_PORT = 8092
_RUNNING_STATE = {"state": "running", "status": "Up 2 hours", "cpu_percent": 0.5}
_STOPPED_STATE = {"state": "exited", "status": "Exited (0) 1 second ago", "cpu_percent": 0.0, "mem_usage": 0}


@attrs.frozen(kw_only=True)
class _Template:
    """An app that can be deployed."""

    row: Row
    """The template as the list shows it."""
    image: str
    variables: tuple[Row, ...] = ()
    helper_images: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Images of the containers that the app needs besides its own, by their role."""


def _env_variable(key: str, default: str = "", *, required: bool = False, secret: bool = False) -> Row:
    return {"key": key, "required": required, "default": default, "secret": secret}


def _template_row(slug: str, name: str, category: str, *, memory_mb: int, linked_services: Any) -> Row:
    return {
        "slug": slug,
        "name": name,
        "description": f"{name} in a container",
        # About three quarters of a panel's templates have no logo.
        "logo_url": f"https://panel.example.com/logos/{slug}.svg" if slug == "ghost" else None,
        "categories": [category],
        "min_memory_mb": memory_mb,
        "min_cpu_percent": 25,
        "is_popular": slug == "ghost",
        "deploy_count": 42,
        "linked_services": linked_services,
        "website_url": f"https://{slug}.example.org",
        "documentation_url": f"https://{slug}.example.org/docs",
    }


_TEMPLATES = (
    _Template(
        row=_template_row("ghost", "Ghost", "cms", memory_mb=512, linked_services='["mysql"]'),
        image="ghost:5",
        variables=(_env_variable("url", required=True), _env_variable("ADMIN_PASSWORD", secret=True)),
        helper_images={"database": "mysql:8"},
    ),
    _Template(
        row=_template_row("n8n", "n8n", "automation", memory_mb=256, linked_services=[]),
        image="n8nio/n8n:1",
        variables=(_env_variable("TZ", "UTC", required=True),),
    ),
    _Template(
        row=_template_row("uptime-kuma", "Uptime Kuma", "monitoring", memory_mb=128, linked_services=[]),
        image="louislam/uptime-kuma:1",
    ),
)


@handles("GET /v1/docker/templates")
def list_templates(call: ApiCall) -> ApiReply:
    """Return all templates; for an account whose plan allows no containers, none."""
    allowed = True
    if owner_id := call.query.get("owner_user_id"):
        allowed = plan_allows_more(call, get(call, "account", owner_id)["id"], "max_containers", 0)
    return ApiReply({"templates": [template.row for template in _TEMPLATES] if allowed else []})


@handles("GET /v1/docker/templates/{slug}")
def get_template(call: ApiCall) -> ApiReply:
    """Return one template, with its variables as a string of JSON, which some panels send."""
    template = _get_template(call)
    return ApiReply({"template": {**template.row, "env_vars": json.dumps(template.variables)}})


@handles("POST /v1/docker/templates/{slug}/deploy")
def deploy_template(call: ApiCall) -> ApiReply:
    """Create the containers of an app; only this reply shows its credentials."""
    template = _get_template(call)
    owner = get(call, "account", call.body["owner_user_id"])
    count = len(list_objects(call, "container", user_id=owner["id"]))
    if not plan_allows_more(call, owner["id"], "max_containers", 0):
        raise panel_error("apiErrors.docker.disabledInPlan", "docker is not part of the plan", status=403)
    if not plan_allows_more(call, owner["id"], "max_containers", count):
        raise panel_error("Failed to deploy", "container limit reached", status=403)
    name = f"{owner['username']}_{call.body['container_name']}"
    if any(item.fields["name"] == f"/{name}" for item in list_objects(call, "container")):
        raise conflict("container")
    env, credentials = _resolve_variables(call, template)
    stack = _Stack(call, template, owner["id"], name, f"{name}-{secrets.token_hex(3)}")
    for role, image in template.helper_images.items():
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
    """Return the containers that the owner of the key may see."""
    return ApiReply({"containers": [item.visible_fields for item in list_objects(call, "container")]})


@handles("GET /v1/docker/containers/{id}")
def get_container(call: ApiCall) -> ApiReply:
    """Return ports, environment and mounts (evidence: docker-container-details)."""
    item = _get_container(call)
    volume = item.fields["name"].removeprefix("/")
    mount = {"type": "volume", "source": volume, "destination": "/data", "rw": True}
    return ApiReply({"ports": item.fields["ports"], "env": item.fields["_env"], "mounts": [mount]})


@handles("GET /v1/docker/containers/{id}/stats")
def container_stats(call: ApiCall) -> ApiReply:
    """Return processor and memory usage."""
    fields = _get_container(call).fields
    return ApiReply({name: fields[name] for name in ("cpu_percent", "mem_usage", "mem_limit")})


@handles("POST /v1/docker/containers/{id}/start")
def start_container(call: ApiCall) -> ApiReply:
    """Start a container; a running one keeps running."""
    return _set_state(call, _RUNNING_STATE, "Container started")


@handles("POST /v1/docker/containers/{id}/stop")
def stop_container(call: ApiCall) -> ApiReply:
    """Stop a container."""
    return _set_state(call, _STOPPED_STATE, "Container stopped")


@handles("POST /v1/docker/containers/{id}/restart")
def restart_container(call: ApiCall) -> ApiReply:
    """Restart a container."""
    return _set_state(call, _RUNNING_STATE, "Container restarted")


@handles("DELETE /v1/docker/containers/{id}")
def delete_container(call: ApiCall) -> ApiReply:
    """Delete one container, although its app may need it (evidence: docker-stacks)."""
    item = _get_container(call)
    if item.fields["state"] == "running" and not call.query.get("force"):
        raise CustomBodyError(409, message="container is running: stop it, or use force")
    for link in list_objects(call, "container_link"):
        if link.fields["container_id"] == item.id:
            delete_object(call, link)
    delete_object(call, item)
    return acknowledgement("Container deleted")


@handles("POST /v1/docker/domains/link")
def link_domain(call: ApiCall) -> ApiReply:
    """Serve a running container on a domain (evidence: docker-links)."""
    domain, container = _get_domain(call), get_object(call, "container", call.body["container_id"])
    if container.user_id != call.body["owner_user_id"]:
        raise not_found("container", container.id)
    if container.fields["state"] != "running":
        raise CustomBodyError(400, message="apiErrors.docker.containerNotRunning")
    _unlink(call, domain)
    name = container.fields["name"].removeprefix("/")
    fields = {"domain_id": domain["id"], "container_id": container.id, "container_name": name}
    add_object(call, "container_link", fields, user_id=domain["user_id"], domain_id=domain["id"])
    return ApiReply({"domain": domain["domain_name"]})


@handles("POST /v1/docker/domains/unlink")
def unlink_domain(call: ApiCall) -> ApiReply:
    """Serve the domain itself again."""
    _unlink(call, _get_domain(call))
    return acknowledgement("Domain unlinked")


@handles("GET /v1/docker/domains/linked")
def list_links(call: ApiCall) -> ApiReply:
    """Return the domains that serve containers, for all accounts or for the one in the query."""
    owner_id = call.query.get("owner_user_id")
    links = list_objects(call, "container_link", **({"user_id": owner_id} if owner_id else {}))
    return ApiReply([link.fields for link in links])


def _get_template(call: ApiCall) -> _Template:
    for template in _TEMPLATES:
        if template.row["slug"] == call.path["slug"]:
            return template
    raise not_found("template", call.path["slug"])


def _resolve_variables(call: ApiCall, template: _Template) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables of an app, and the secret ones among them, which the panel generates if they are empty.

    Raises:
        ApiError: 400, a required variable has no value (evidence: docker-templates).
    """
    sent: dict[str, Any] = call.body.get("env", {})
    env = {**{variable["key"]: variable["default"] for variable in template.variables}, **sent}
    secret_keys = [variable["key"] for variable in template.variables if variable["secret"]]
    for key in secret_keys:
        env[key] = env[key] or secrets.token_urlsafe(12)
    required_keys = [variable["key"] for variable in template.variables if variable["required"]]
    missing = [key for key in required_keys if not env[key]]
    if missing:
        raise validator_error(call.endpoint.operation, [(f"env.{key}", "required") for key in missing])
    return {key: str(value) for key, value in env.items()}, {key: str(env[key]) for key in secret_keys}


@attrs.frozen
class _Stack:
    """The containers of one app."""

    call: ApiCall
    template: _Template
    owner_id: str
    app_name: str
    label: str
    """Its name in the labels of its containers."""

    def add(self, image: str, role: str = "", env: Mapping[str, str] | None = None) -> OwnedObject:
        """Create a container. Only that of the app itself, which has no role, gets a port on the host."""
        port = {"host_port": "" if role else _free_port(self.call), "container_port": "80", "protocol": "tcp"}
        memory = self.template.row["min_memory_mb"] * _MIB
        fields = {
            "name": f"/{self.app_name}_{role}" if role else f"/{self.app_name}",
            "image": image,
            **_RUNNING_STATE,
            "mem_usage": memory // 2,
            "mem_limit": memory,
            "ports": [port],
            "labels": {
                "panelica.user_id": self.owner_id,
                "panelica.template": self.template.row["slug"],
                "panelica.stack": self.label,
                "panelica.template.role": role,
            },
            "created": timestamp(self.call.now),
            "_env": [f"{key}={value}" for key, value in (env or {}).items()],
        }
        return add_object(self.call, "container", fields, user_id=self.owner_id, identifier=secrets.token_hex(6))


def _free_port(call: ApiCall) -> str:
    rows = call.store.rows("SELECT data FROM panel_objects WHERE kind = 'container'")
    used = {port["host_port"] for row in rows for port in row["data"]["ports"]}
    return next(port for number in itertools.count(_FIRST_PORT) if (port := str(number)) not in used)


def _get_container(call: ApiCall) -> OwnedObject:
    """Return the container in the path, by its id or name (evidence: ids)."""
    id_or_name = call.path["id"]
    for item in list_objects(call, "container"):
        if id_or_name in {item.id, item.fields["name"], item.fields["name"].removeprefix("/")}:
            return item
    raise not_found("container", id_or_name)


def _set_state(call: ApiCall, state: Row, message: str) -> ApiReply:
    item = _get_container(call)
    usage = {"mem_usage": item.fields["mem_limit"] // 2, **state}
    update_object(call, item, **usage)
    return acknowledgement(message)


def _get_domain(call: ApiCall) -> Row:
    """Return the domain in the body, which must belong to the account in the body."""
    domain = get(call, "domain", call.body["domain_id"])
    if domain["user_id"] != call.body["owner_user_id"]:
        raise not_found("domain", domain["id"])
    return domain


def _unlink(call: ApiCall, domain: Row) -> None:
    for link in list_objects(call, "container_link", domain_id=domain["id"]):
        delete_object(call, link)
