"""Adding an endpoint: edit one file, run one command, and method, model, sandbox route and documentation are there."""

import shutil
from pathlib import Path

import pytest

from tests.codegen.package_copy import REPOSITORY, run

pytestmark = [pytest.mark.development, pytest.mark.once]

PATH = """\
paths:
  /v1/plans/{id}/forecast:
    parameters:
      - {name: id, in: path, required: true, description: Id of the plan., schema: {type: string}}
    get:
      operationId: plans.forecast
      summary: Forecast how many accounts a plan will have
      x-scope: plans:read
      x-repeat: read
      x-errors: [400, 404]
      parameters:
        - name: months
          in: query
          required: true
          description: Months to look ahead.
          schema: {type: integer, minimum: 1}
      responses:
        "200":
          description: The forecast.
          content:
            application/json:
              schema: {$ref: "#/components/schemas/PlanForecast"}
              example: {months: 3, accounts: 40, trend: growing}
"""
SCHEMA = """\
  schemas:
    PlanForecast:
      type: object
      description: How many accounts a plan will have.
      required: [months, accounts]
      properties:
        months: {type: integer, description: Months from now.}
        accounts: {type: integer, description: Accounts on the plan by then.}
        trend: {$ref: "#/components/schemas/PlanTrend", description: Where it goes.}
    PlanTrend:
      type: string
      description: Where the number of accounts goes.
      x-known-values: [growing, falling]
"""
PROGRAM = """\
import asyncio

from panelica_async import BadRequestError, MissingScopeError, NotFoundError, PanelicaClient
from panelica_async.models import PlanForecast, PlanTrend
from panelica_async.sandbox import Sandbox


async def forecast(panel, box):
    forecast = await panel.plans.forecast("p1", months=3)
    assert forecast == PlanForecast(months=3, accounts=40, trend=PlanTrend.GROWING), forecast
    try:
        await panel.plans.forecast("p1", months=0)
    except BadRequestError as error:
        assert "months" in str(error.details), error
    else:
        raise AssertionError("the sandbox does not validate the call")
    key = await panel.api_keys.create(name="narrow", scopes=["domains:read"])
    async with PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret, tier="starter") as narrow:
        try:
            await narrow.plans.forecast("p1", months=3)
        except MissingScopeError as error:
            assert error.required_scope == "plans:read", error
        else:
            raise AssertionError("the sandbox does not require the scope")


async def cron_jobs(panel):
    job = await panel.cron_jobs.create(command="php cron.php", schedule="*/5 * * * *")
    assert await panel.cron_jobs.list().collect() == [job]
    stopped = await panel.cron_jobs.update(job.id, enabled=False)
    assert (stopped.id, stopped.command, stopped.enabled) == (job.id, job.command, False)
    assert await panel.cron_jobs.get(job.id) == stopped
    await panel.cron_jobs.delete(job.id)
    assert await panel.cron_jobs.list().collect() == []
    for gone in (panel.cron_jobs.get(job.id), panel.cron_jobs.delete(job.id)):
        try:
            await gone
        except NotFoundError:
            continue
        raise AssertionError("the job is still there")


async def main():
    async with (
        Sandbox() as box,
        PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="professional") as panel,
    ):
        await forecast(panel, box)
        await cron_jobs(panel)


asyncio.run(main())
print("done")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the specification, the package, the tests, and the generated documentation."""
    project = tmp_path / "project"

    # As if the repository itself had no cron jobs; the sandbox of panels keeps them.
    def left_out(_: str, names: list[str]) -> set[str]:
        return {name for name in names if name == "__pycache__" or name.startswith("cron_jobs.")}

    for folder in ("panelica_async", "spec", "tests/support", "tests/operations", "tests/sandbox"):
        shutil.copytree(REPOSITORY / folder, project / folder, ignore=left_out)
    (project / "docs").mkdir()
    for file in ("docs/operations.md", "tests/conftest.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / file, project / file)
    return project


def test_edit_and_command_add_method_route_docs_and_tests(project: Path) -> None:
    """Add an endpoint to a resource, and a resource of its own, at once: the command is what takes long."""
    plans = project / "spec/plans.yaml"
    text = plans.read_text(encoding="utf-8")
    plans.write_text(text.replace("paths:\n", PATH, 1).replace("  schemas:\n", SCHEMA, 1), encoding="utf-8")
    shutil.copy(Path(__file__).with_name("cron_jobs.yaml"), project / "spec")

    written = run("-m", "codegen", "--project", project, project=project)
    assert written.returncode == 0, written.stderr
    assert "wrote panelica_async/resources/plans.py\n" in written.stdout
    assert "wrote panelica_async/resources/cron_jobs.py\n" in written.stdout

    methods = (project / "panelica_async/resources/plans.py").read_text(encoding="utf-8")
    assert "    async def forecast(self, id: str, *, months: int) -> PlanForecast:\n" in methods
    table = (project / "docs/operations.md").read_text(encoding="utf-8")
    assert "| `plans.forecast(id, …)` | `GET /v1/plans/{id}/forecast` | `plans:read` | read | PlanForecast |" in table
    row = "| `cron_jobs.update(id, …)` | `PATCH /v1/cron-jobs/{id}` | `accounts:write` | idempotent | CronJob |"
    assert row in table

    done = run("-c", PROGRAM, project=project)
    assert (done.stdout, done.stderr) == ("done\n", "")
    tests = ("tests/operations/test_every_operation.py", "-k", "cron_jobs or forecast")
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, project=project)
    # Six operations with five tests each, and the life of an object.
    assert tested.stdout.rpartition("\n31 passed")[1], tested.stdout
