from panelica_async import PanelicaClient
from panelica_async.models import Account, DatabaseType, Domain
from tests.operations.conftest import PASSWORD


async def test_databases_list(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    shop = await panel.databases.create(name="shop", domain_id=domain.id)
    elsewhere = await panel.domains.create(domain="other.example", user_id=account.id)
    blog = await panel.databases.create(name="blog", domain_id=elsewhere.id)
    assert await panel.databases.list().collect() == [shop, blog]
    assert await panel.databases.list(domain_id=elsewhere.id).collect() == [blog]


async def test_databases_create(panel: PanelicaClient, domain: Domain) -> None:
    database = await panel.databases.create(
        name="shop", domain_id=domain.id, type="postgresql", username="shop_app", password=PASSWORD
    )
    assert (database.name, database.type, database.domain_id) == ("shop", DatabaseType.POSTGRESQL, domain.id)
    assert database.user_count == 1


async def test_databases_users_create(panel: PanelicaClient, domain: Domain) -> None:
    database = await panel.databases.create(name="shop", domain_id=domain.id)
    user = await panel.databases.users.create(database.id, username="reader", password=PASSWORD, privileges="SELECT")
    assert (user.username, user.privileges) == ("reader", "SELECT")
    [found] = await panel.databases.list().collect()
    assert found.user_count == 1
