"""Start a backup and wait until it is complete, with few calls.

Needs PANELICA_BASE_URL, PANELICA_API_KEY and PANELICA_API_SECRET in the environment.
"""

import asyncio
import sys

from panelica_async import PanelicaClient
from panelica_async.models import Backup, BackupStatus


async def finished(panel: PanelicaClient, backup_id: str, *, within: float = 3600) -> Backup:
    """Wait until a backup is complete or has failed.

    Each check reads the list, which costs one call if the newest backups come first. The pauses between checks grow:
    six checks in the first minute, then one a minute. They use the bulk lane, so calls that a user waits for go first.

    Raises:
        TimeoutError: It is still running after `within` seconds.
    """
    panel = panel.with_options(lane="bulk")
    wait = 3.0
    async with asyncio.timeout(within):
        while True:
            async for backup in panel.backups.list(sort="created_at", order="desc"):
                if backup.id == backup_id:
                    if backup.status in {BackupStatus.COMPLETED, BackupStatus.FAILED}:
                        return backup
                    break
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, 60.0)


async def main(domain_id: str) -> None:
    async with PanelicaClient() as panel:
        started = await panel.backups.create(name="nightly", domain_ids=[domain_id])
        print((await finished(panel, started.id)).to_json())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
