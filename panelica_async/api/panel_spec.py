"""`panel.spec`: what the panel at hand lists about itself."""

from panelica_async.api.catalogue import Catalogue, read_catalogue
from panelica_async.api.resource import Resource
from panelica_async.api.runner import decode_reply
from panelica_async.core.operation import Repeat
from panelica_async.core.request import PreparedRequest
from panelica_async.errors import DecodeError
from panelica_async.transport.call import Reply


class PanelSpec(Resource):
    """What the panel at hand lists about itself, and the checks that follow from it."""

    @property
    def catalogue(self) -> Catalogue | None:
        """What was loaded; None before."""
        return self._runner.known.catalogue

    async def load(self) -> Catalogue:
        """GET /v1/api-spec: load what the panel lists about itself, and check `**fields` against it from then on.

        A call whose fields the panel declares raises `ValueError` before anything is sent when one of them is unknown,
        missing, or has a value that the panel does not take. The client and its variants share what was loaded; load it
        again after the panel was updated.

        Works without a key; not signed, and not counted against the quota. Read-only; retried after a lost reply, 429,
        502, 503 and 504, but not after 500.

        Returns:
            The endpoints of the panel.

        Raises:
            DecodeError: the reply is no catalogue.
            NotFoundError: the server does not list its endpoints.
        """
        runner = self._runner
        # The same in every dialect: asking a panel is how to learn what it is.
        call = runner.prepare_raw("api_spec", PreparedRequest("GET", "/v1/api-spec"), Repeat.READ, signed=False)

        def read(reply: Reply) -> Catalogue:
            try:
                return read_catalogue(decode_reply(call, reply).data)
            except ValueError as error:
                raise DecodeError(str(error), endpoint=call.endpoint) from None

        runner.known.catalogue = await runner.run(call, read)
        return runner.known.catalogue

    def unload(self) -> None:
        """Forget what was loaded; `**fields` are sent unchecked again."""
        self._runner.known.catalogue = None
