"""Schemathesis generates requests from the shipped document, and checks every reply against it."""

import json
import os
from pathlib import Path

import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.spec import shipped_document
from tests.foreign.programs import find, run

pytestmark = pytest.mark.once
REPOSITORY = Path(__file__).parents[2]
# A value that fits its schema may be refused for what is on the panel, or for a form that the document leaves open.
# A method that is not served is answered with 404, as Go's gin does.
BY_DESIGN = "positive_data_acceptance,unsupported_method"


async def test_every_reply_is_one_the_document_names(tmp_path: Path) -> None:
    schemathesis = find("schemathesis")
    # The hook signs; without the headers in the document, none of them is made up.
    document = {**shipped_document().content, "security": []}
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document))
    async with Sandbox(tier="enterprise") as box:
        environment = {
            **os.environ,
            "PANELICA_API_KEY": box.api_key,
            "PANELICA_API_SECRET": box.api_secret,
            "SCHEMATHESIS_HOOKS": "tests.foreign.signing_hook",
            "PYTHONPATH": str(REPOSITORY),
        }
        code, output = await run(
            schemathesis, "run", str(path), "--url", box.base_url,
            # It takes ids from the lists, and would give the key it signs with another secret.
            "--exclude-operation-id", "api_keys.regenerate",
            "--exclude-checks", BY_DESIGN,
            "--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--seed", "1", "--continue-on-failure",
            "--generation-database", "none", "--no-color",
            env=environment,
        )  # fmt: skip
        assert code == 0, output
        statuses = {request.status for request in box.requests}
        assert {200, 201, 204, 400, 404, 409} <= statuses
        assert not {status for status in statuses if status >= 500}
