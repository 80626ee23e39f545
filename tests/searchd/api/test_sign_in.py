"""Signing in on a page: what the cookie lets one read and write, and what it does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from litestar.testing import TestClient

from searchd.api.sign_in import COOKIE, SECONDS, cookie_of, key_of_cookie, key_of_secret
from searchd.app import create_app
from searchd.services import Services
from searchd.settings import Key
from tests.searchd.api.conftest import HOST, Client, problem

HR = Key(name="h.r. Bühler", secret="secret-of-the-hr-department", principals=("hr",), judge=True)
ADMIN = Key(name="admin", secret="secret-of-the-administrator", write=True)
READER = Key(name="reader", secret="secret-of-a-mere-reader")
KEYS = (HR, ADMIN, READER)
OWN = {"Sec-Fetch-Site": "same-origin"}
PAGE = {"Accept": "text/html"}


def client_with(services: Services, keys: tuple[Key, ...], base_url: str = HOST) -> Client:
    settings = msgspec.structs.replace(services.settings, keys=keys)
    app = create_app(replace(services, settings=settings))
    return TestClient(app, base_url=base_url, raise_server_exceptions=False)


@pytest.fixture
def client(services: Services) -> Iterator[Client]:
    with client_with(services, KEYS) as opened:
        yield opened


def signed_in(client: Client, key: Key) -> Client:
    answer = client.post("/sign-in", data={"key": key.secret}, headers=PAGE | OWN, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return client


def ids(client: Client, headers: dict[str, str] | None = None) -> set[str]:
    answer = client.get("/api/search?q=valve&mode=lexical&limit=100&rerank=false", headers=headers)
    return {hit["document_id"] for hit in answer.json()["hits"]}


def test_a_cookie_is_of_its_key_until_it_expires() -> None:
    value = cookie_of(HR, 1000.0)
    assert value.isascii()
    assert not set(value) & set(' ";,\\=')
    assert key_of_cookie(value, KEYS, 1000.0) == HR
    assert key_of_cookie(value, KEYS, 1000.0 + SECONDS - 1) == HR
    assert key_of_cookie(value, KEYS, 1000.0 + SECONDS) is None


def test_a_cookie_is_worth_nothing_once_its_key_is_removed_or_its_secret_changed() -> None:
    value = cookie_of(HR, 1000.0)
    assert key_of_cookie(value, (ADMIN, READER), 1000.0) is None
    assert key_of_cookie(value, (msgspec.structs.replace(HR, secret="another-secret-of-hr"),), 1000.0) is None


def test_no_part_of_a_cookie_can_be_changed() -> None:
    name, expiry, proof = cookie_of(READER, 1000.0).split(".")
    others = cookie_of(ADMIN, 1000.0).split(".")[0]
    for value in (
        f"{others}.{expiry}.{proof}",
        f"{name}.{int(expiry) + 1}.{proof}",
        f"{name}.{expiry}.{proof[:-2]}AA",
        f"{name}.{expiry}.",
        f"{name}.{expiry}",
        f"{name}.-1.{proof}",
        f"{name}.\u0661{expiry}.{proof}",
        f"{name}.{'9' * 400}.{proof}",
        f"{name}.{expiry}.{proof}\udcff",
        "",
        "..",
    ):
        assert key_of_cookie(value, KEYS, 1000.0) is None, value


def test_of_two_keys_with_one_name_the_cookie_is_of_the_one_that_made_it() -> None:
    twin = Key(name="reader", secret="secret-of-the-other-reader", write=True)
    assert key_of_cookie(cookie_of(twin, 1.0), (READER, twin), 2.0) == twin
    assert key_of_secret(twin.secret, (READER, twin)) == twin
    assert key_of_secret("", (READER, twin)) is None


def test_the_cookie_is_kept_from_scripts_from_other_sites_and_from_plain_http_where_there_is_better(
    services: Services,
) -> None:
    for base_url, secure in ((HOST, False), ("https://127.0.0.1", True)):
        with client_with(services, KEYS, base_url) as client:
            answer = client.post("/sign-in", data={"key": HR.secret}, headers=PAGE | OWN, follow_redirects=False)
        said = answer.headers["set-cookie"]
        words = {word.strip().lower() for word in said.split(";")}
        assert {"httponly", "samesite=strict", "path=/", f"max-age={SECONDS}"} <= words
        assert ("secure" in words) is secure
        assert HR.secret not in said


def test_who_signed_in_reads_on_pages_and_through_the_api_what_the_key_may(client: Client) -> None:
    assert not {"salaries", "board"} & ids(client)
    signed_in(client, HR)
    assert {"salaries", "board"} <= ids(client)
    assert client.get("/documents/default/salaries", headers=PAGE).status_code == 200
    assert f"Sign out <span>({HR.name})" in client.get("/?q=valve&mode=lexical&rerank=off", headers=PAGE).text
    client.post("/sign-out", headers=PAGE | OWN)
    assert not {"salaries", "board"} & ids(client)
    assert client.get("/documents/default/salaries", headers=PAGE).status_code == 404


def test_a_key_in_the_header_counts_and_not_the_cookie(client: Client) -> None:
    signed_in(client, HR)
    assert not {"salaries"} & ids(client, {"Authorization": f"Bearer {READER.secret}"})
    answer = client.get("/api/search?q=valve", headers={"Authorization": "Bearer wrong-wrong-wrong"})
    assert problem(answer)["code"] == "invalid_key"


@pytest.mark.parametrize("change", ["expired", "tampered"])
def test_a_cookie_that_is_not_good_is_nobodys(client: Client, change: str) -> None:
    value = cookie_of(HR, time.time() - (SECONDS + 60 if change == "expired" else 0))
    client.cookies.set(COOKIE, value if change == "expired" else value[:-3] + "AAA")
    assert not {"salaries", "board"} & ids(client)
    assert "Sign in" in client.get("/", headers=PAGE).text


def test_a_removed_key_is_signed_out_everywhere(services: Services) -> None:
    with client_with(services, (ADMIN,)) as client:
        client.cookies.set(COOKIE, cookie_of(HR, time.time()))
        assert not {"salaries"} & ids(client)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_sites_page_writes_nothing_with_the_cookie(client: Client, headers: dict[str, str]) -> None:
    signed_in(client, ADMIN)
    for method, path in (("DELETE", "/api/documents/none"), ("POST", "/judge/undo"), ("POST", "/status/retry")):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 403, path
        assert "another site" in problem(answer)["detail"]
    for path in ("/sign-in", "/sign-out"):
        assert client.post(path, data={"key": READER.secret}, headers=headers).status_code == 403
    assert client.get("/api/sources", headers=OWN).status_code == 200


def test_a_wrong_key_is_told_without_saying_more(client: Client) -> None:
    said = set()
    for wrong in ("nonsense", HR.secret[:-1], HR.name, "", "ä" * 20):
        form = {"key": wrong, "next": "/judge"}
        answer = client.post("/sign-in", data=form, headers=PAGE | OWN, follow_redirects=False)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        said.add(answer.text)
    (page,) = said
    assert "This is not a key of this daemon." in page
    assert 'name="next" value="/judge"' in page


def test_a_form_that_is_too_large_is_refused(client: Client) -> None:
    answer = client.post("/sign-in", data={"key": "x" * 20_000}, headers=OWN)
    assert problem(answer)["code"] == "too_large"


@pytest.mark.parametrize(
    ("asked", "gone_to"),
    [
        ("/judge?set=a&query=q-1", "/judge?set=a&query=q-1"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_after_signing_in_one_goes_on_within_this_site(client: Client, asked: str, gone_to: str) -> None:
    form = {"key": HR.secret, "next": asked}
    answer = client.post("/sign-in", data=form, headers=PAGE | OWN, follow_redirects=False)
    assert answer.headers["location"] == gone_to


def test_only_keys_that_judge_or_write_may_judge(client: Client) -> None:
    answer = client.get("/judge", headers=PAGE)
    assert answer.status_code == 401
    assert 'href="/sign-in?next=%2Fjudge"' in answer.text
    assert client.get("/judge").json()["code"] == "not_signed_in"
    for key, status in ((READER, 403), (HR, 200), (ADMIN, 200)):
        client.cookies.clear()
        page = signed_in(client, key).get("/judge", headers=PAGE)
        assert page.status_code == status, key.name
        assert ('<a href="/judge"' in client.get("/status", headers=PAGE).text) is (status == 200)
    assert client.get("/judge", headers=PAGE | {"Authorization": f"Bearer {READER.secret}"}).status_code == 403


def test_without_keys_the_user_of_this_machine_judges_and_nobody_is_asked_to_sign_in(services: Services) -> None:
    with client_with(services, ()) as client:
        client.cookies.set(COOKIE, cookie_of(HR, time.time()))
        page = client.get("/judge", headers=PAGE)
        assert page.status_code == 200
        assert "You judge as <b>local</b>" in page.text
        assert "/sign-in" not in page.text
        assert "has no keys" in client.get("/sign-in", headers=PAGE).text
        assert client.get("/judge", headers=PAGE | {"Host": "evil.example"}).status_code == 403


def test_who_signed_in_may_rank_pasted_passages(client: Client) -> None:
    form = {"query": "valve", "passages": "a valve\na pump", "profile": "none"}
    assert client.post("/playground", data=form, headers=PAGE | OWN).status_code == 401
    assert signed_in(client, READER).post("/playground", data=form, headers=PAGE | OWN).status_code == 404
