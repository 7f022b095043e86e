"""Links and network addresses."""

from types import SimpleNamespace

import pytest

from editor.settings import Settings
from editor.web.door.limits import Refusal
from editor.web.door.visitor import Network, counted_address, job_link, network_address, page_secret


def asked(peer="127.0.0.1", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(headers=named, client=SimpleNamespace(host=peer))


@pytest.mark.parametrize(
    ("request_", "link"),
    [
        (asked(host="127.0.0.1:7860"), "http://127.0.0.1:7860/?job=abc"),
        (asked(host="localhost:7860", origin="https://abc.gradio.live"), "https://abc.gradio.live/?job=abc"),
        (asked(host="inner", x_forwarded_host="a.org", x_forwarded_proto="https"), "https://a.org/?job=abc"),
        (asked(host="a.org", origin="null"), "http://a.org/?job=abc"),
    ],
)
def test_links_are_as_the_visitor_sees_the_page(request_, link):
    assert job_link("abc", Settings(), request_) == link


def test_a_known_public_address_wins():
    settings = Settings.from_env({"SPACE_HOST": "someone-recast.hf.space"})
    assert job_link("abc", settings, asked(host="10.1.2.3")) == "https://someone-recast.hf.space/?job=abc"


BEHIND = Network(Settings(trusted_proxies=("10.0.0.0/8",), allowed_hosts=("a.org",)))


def scope(peer, method="GET", scheme="http", **headers):
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "scheme": scheme, "client": (peer, 1), "headers": raw}


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),  # a visitor who talks to us directly cannot borrow an address
        ("192.168.0.9", "1.1.1.1", "192.168.0.9"),  # nor can one who stands on some private network
        ("127.0.0.1", "1.1.1.1", "127.0.0.1"),
        ("10.0.0.2", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.2", "9.9.9.9, 1.1.1.1, 10.3.3.3", "1.1.1.1"),
        ("10.0.0.2", "9.9.9.9, 192.168.3.3", "192.168.3.3"),
        ("10.0.0.2", "nonsense", "10.0.0.2"),
        ("::ffff:10.0.0.2", "::ffff:1.1.1.1", "1.1.1.1"),
        ("::ffff:1.2.3.4", None, "1.2.3.4"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("2606:4700::1111", None, "2606:4700::/64"),
        ("testclient", None, "testclient"),
    ],
)
def test_the_address_that_limits_count_for(peer, forwarded, counted):
    headers = {"x_forwarded_for": forwarded} if forwarded else {}
    seen = BEHIND.seen_through(scope(peer, **headers))
    assert counted_address(seen["client"][0]) == counted
    assert network_address(asked(seen["client"][0])) == counted


def test_only_a_believed_proxy_says_which_name_and_scheme_the_visitor_used():
    said = {"host": "inner", "x_forwarded_host": "a.org", "x_forwarded_proto": "https"}
    believed, refused = (BEHIND.seen_through(scope(peer, **said)) for peer in ("10.0.0.2", "8.8.8.8"))
    assert (believed["scheme"], refused["scheme"]) == ("https", "http")
    assert [name for name, _ in refused["headers"]] == [b"host"]
    BEHIND.check(believed)
    with pytest.raises(Refusal, match="inner"):
        BEHIND.check(refused)


@pytest.mark.parametrize(
    ("settings", "host", "ours"),
    [
        ({}, "localhost:7860", True),
        ({}, "127.0.0.1:7860", True),
        ({}, "192.168.1.5:7860", True),
        ({}, "[::1]:7860", True),
        ({}, "evil.example:7860", False),
        ({}, "localhost.evil.example", False),
        ({}, "abc.gradio.live", False),
        ({"share": True}, "abc.gradio.live", True),
        ({"share": True}, "abc.gradio.live.evil.example", False),
        ({"public_url": "https://recast.example.org"}, "recast.example.org", True),
        ({"allowed_hosts": ("inner.lan",)}, "Inner.lan:80", True),
        ({"allowed_hosts": ("*",)}, "anything", True),
    ],
)
def test_the_page_is_served_under_its_own_names_only(settings, host, ours):
    network = Network(Settings(**settings))
    if ours:
        network.check(scope("8.8.8.8", host=host))
    else:
        with pytest.raises(Refusal, match="EDITOR_ALLOWED_HOSTS"):
            network.check(scope("8.8.8.8", host=host))


@pytest.mark.parametrize(
    ("host", "origin", "taken"),
    [
        ("localhost:7860", "http://localhost:7860", True),
        ("localhost:7860", "http://localhost:9999", False),  # another program of this machine
        ("localhost:7860", "http://127.0.0.1:7860", False),
        ("localhost:7860", "null", False),
        ("localhost:7860", "https://evil.example", False),
        ("localhost:7860", None, True),  # a program, not a page
        ("127.0.0.1:7860", "https://a.org", True),  # a proxy that does not hand on the name
    ],
)
def test_posts_come_from_our_own_page(host, origin, taken):
    headers = {"host": host} | ({"origin": origin} if origin else {})
    BEHIND.check(scope("8.8.8.8", **headers))  # reading is no matter: the browser keeps the answer from the other page
    if taken:
        BEHIND.check(scope("8.8.8.8", "POST", **headers))
    else:
        with pytest.raises(Refusal, match="another site"):
            BEHIND.check(scope("8.8.8.8", "POST", **headers))


def test_a_space_believes_its_own_proxy_only():
    network = Network(Settings.from_env({"SPACE_HOST": "someone-recast.hf.space"}))
    network.check(scope("10.1.1.1", "POST", host="someone-recast.hf.space", origin="https://someone-recast.hf.space"))
    assert network.trusts("10.1.1.1") and not network.trusts("8.8.8.8")


def test_the_pages_secret_is_made_once_and_private(tmp_path):
    assert page_secret(tmp_path) == page_secret(tmp_path)
    assert len(page_secret(tmp_path)) >= 32
    assert (tmp_path / "page-secret").stat().st_mode & 0o077 == 0
