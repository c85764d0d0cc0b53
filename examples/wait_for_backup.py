"""Back up a site and wait until the backup is complete, with few calls.

Needs PANELICA_BASE_URL, PANELICA_API_KEY and PANELICA_API_SECRET in the environment.
"""

import asyncio
import sys

from panelica_async import PanelicaClient
from panelica_async.models import Backup, BackupStatus


async def back_up(panel: PanelicaClient, domain_id: str) -> Backup:
    """Back up a site, and return the backup when it is complete.

    Waiting reads the list of backups at intervals that grow from 2 to 30 seconds. The reads use the bulk lane, so
    calls that a user waits for go first.

    Raises:
        RequestTimeoutError: The backup is still running after an hour.
        RuntimeError: The panel could not make it.
    """
    background = panel.with_options(lane="bulk")
    started = await background.backups.create(name="nightly", domain_ids=[domain_id])
    backup = await background.backups.wait(started, deadline=3600)
    if backup.status == BackupStatus.FAILED:
        raise RuntimeError(f"the panel could not make the backup {backup.name}")
    return backup


async def main(domain_id: str) -> None:
    async with PanelicaClient() as panel:
        print((await back_up(panel, domain_id)).to_json())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
