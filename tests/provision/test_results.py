from panelica_async.core.error_replies import read_report
from panelica_async.provision.results import reason_of

PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>" + b"<p>try again later</p>" * 100 + b"</body></html>"


def reason(status: int, body: bytes) -> str:
    return reason_of(read_report(status, {}, body).error(method="POST", path="/v1/domains"))


def test_reason_of_a_web_page_does_not_quote_it() -> None:
    assert reason(502, PAGE) == "502 Bad Gateway, a web page instead of JSON"


def test_reason_quotes_what_the_panel_adds() -> None:
    assert reason(422, b'{"error": "Invalid", "details": "php is not installed"}') == "Invalid (php is not installed)"


def test_reason_of_a_long_message_is_short() -> None:
    assert len(reason(400, b'{"error": "' + b"bad " * 500 + b'"}')) <= 300
    assert len(reason(400, b'{"error": "Bad", "details": "' + b"bad " * 500 + b'"}')) <= 210
