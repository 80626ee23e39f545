"""`/api/judged`: judged sets for programs: list, read, add to, delete. For callers who may write: judgments name documents."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.orm import Session

from indexer.errors import InputError
from indexer.store import judged as store
from indexer.store.judged import JudgedSet
from searchd.api.bodies import check_depth, read_body
from searchd.api.judged_schemas import (
    JudgedExportParameters,
    JudgedImport,
    JudgedImportParameters,
    JudgedListParameters,
    JudgedSetLine,
    JudgedSetList,
)
from searchd.api.operation import Operation
from searchd.api.principals import require_write
from searchd.api.reading import large_bodies, read_query
from searchd.api.schemas import NoParameters
from searchd.judge import jsonl, topics, trec
from searchd.judge.content import SetContent, content_of
from searchd.judge.given import Given, Problems
from searchd.judge.intake import Intake, take_in
from searchd.services import Services

AnyRequest = Request[Any, Any, Any]
JSON, LINES = "application/json", "application/jsonl"
OTHER_LINES = ("application/x-ndjson", "application/x-jsonlines")
"""Names under which JSON lines are sent as well."""
TEXT = "text/plain"
LINE = {
    "collection": "default", "name": "faq", "kind": "judged", "complete": False, "created_at": 1790000000.0,
    "queries": 60, "judged_queries": 41, "judgments": 388, "relevant": 73,
}  # fmt: skip
BODY = [
    {"query": "how do I get a refund", "document_id": "refunds", "grade": 3},
    {"query": "how do I get a refund", "document_id": "shipping", "grade": 0},
]
IMPORTED = {
    "set": LINE, "made": False, "given_queries": 1, "new_queries": 1, "given_judgments": 2, "cut_queries": 0,
    "unknown_documents": 0,
}  # fmt: skip


@get(
    "/api/judged",
    opt=Operation(
        "List judged sets", "judged sets", query=JudgedListParameters, answer=JudgedSetList,
        answer_example={"sets": [LINE]}, writes=True,
    ).opt(),
)  # fmt: skip
async def listing(request: AnyRequest, services: NamedDependency[Services]) -> JudgedSetList:
    """Return the judged sets of a collection, or of all, with their counts."""
    require_write(request, services.settings)
    asked = read_query(request, JudgedListParameters)

    def run() -> JudgedSetList:
        with services.engine.database.read() as session:
            found = store.of_collection(session, asked.collection)
            return JudgedSetList(sets=tuple(_line(session, one) for one in found))

    return await anyio.to_thread.run_sync(run)


@get(
    "/api/judged/{collection:str}/{name:str}",
    opt=Operation(
        "Read a judged set", "judged sets", query=JudgedExportParameters, answer_text=(LINES, TEXT), writes=True,
        errors=(404,),
    ).opt(),
)  # fmt: skip
async def read(
    request: AnyRequest, services: NamedDependency[Services], collection: FromPath[str], name: FromPath[str]
) -> Response[bytes]:
    """Return a set as JSON lines, which a POST takes again; or its TREC qrels; or the queries that belong to those."""
    require_write(request, services.settings)
    asked = read_query(request, JudgedExportParameters)

    def run() -> bytes:
        with services.engine.database.read() as session:
            content = content_of(session, store.get(session, collection, name).set_id)
        return written(content, asked.format)

    text = await anyio.to_thread.run_sync(run)
    return Response(text, media_type=LINES if asked.format == "jsonl" else TEXT)


@post(
    "/api/judged/{collection:str}/{name:str}",
    status_code=200,
    opt=Operation(
        "Add judgments to a set", "judged sets", query=JudgedImportParameters, body=jsonl.JudgedLine, body_is_list=True,
        body_lines=True, body_example=BODY, answer=JudgedImport, answer_example=IMPORTED, writes=True,
        errors=(400, 404, 409, 413, 415),
    ).opt(),
)  # fmt: skip
async def add(
    request: AnyRequest, services: NamedDependency[Services], collection: FromPath[str], name: FromPath[str]
) -> JudgedImport:
    """Put queries and judgments into a set, which is made if there is none: all of them or, if one is wrong, none.

    A judgment takes the place of the one that the same query and document had. The body is a list, or JSON lines.
    """
    require_write(request, services.settings)
    asked = read_query(request, JudgedImportParameters)
    how = Intake(judge=asked.judge, complete=asked.complete, replace=asked.replace, strict=asked.strict)
    media_type = media_type_of(request)
    body = await read_body(request, services.settings.max_document_mb * 1_000_000)

    def run() -> JudgedImport:
        given = given_of(body, media_type)
        with services.engine.database.session() as session:
            taken = take_in(session, collection, name, given, how, services.engine.clock())
            return JudgedImport(
                set=_line(session, taken.of),
                made=taken.made,
                given_queries=taken.queries,
                new_queries=taken.new_queries,
                given_judgments=taken.judgments,
                cut_queries=taken.cut_queries,
                unknown_documents=taken.unknown_documents,
            )

    return await anyio.to_thread.run_sync(run, limiter=large_bodies(request))


@delete(
    "/api/judged/{collection:str}/{name:str}",
    status_code=200,
    opt=Operation(
        "Delete a judged set", "judged sets", answer=JudgedSetLine, answer_example=LINE, writes=True, errors=(404,)
    ).opt(),
)
async def remove(
    request: AnyRequest, services: NamedDependency[Services], collection: FromPath[str], name: FromPath[str]
) -> JudgedSetLine:
    """Delete a set with its queries and judgments, and return what it was."""
    require_write(request, services.settings)
    read_query(request, NoParameters)

    def run() -> JudgedSetLine:
        with services.engine.database.session() as session:
            one = store.get(session, collection, name)
            last = _line(session, one)
            store.delete(session, one.set_id)
        return last

    return await anyio.to_thread.run_sync(run)


def media_type_of(request: AnyRequest) -> str:
    """Return whether a body is JSON or JSON lines, by its Content-Type. Raises: InputError for anything else."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said in (LINES, *OTHER_LINES):
        return LINES
    if said in (JSON, ""):
        return JSON
    raise InputError(f"the body is {said[:80]!r}; {JSON} and {LINES} are accepted", code="unsupported_media_type")


def given_of(body: bytes, media_type: str) -> Given:
    """Return what a body says. Raises: InputError naming entries or lines; LimitError for JSON that nests too deeply."""
    if media_type == LINES:  # of which each is decoded by itself, into fields that cannot nest
        return jsonl.read(jsonl.numbered(body.split(b"\n")), Problems())
    check_depth(body)
    try:
        return jsonl.read(jsonl.entries(body), Problems())
    except msgspec.ValidationError:
        raise InputError("the body has to be a list of judgments", code="invalid_parameter") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the body is no valid JSON: {error}", code="invalid_json") from None


def written(content: SetContent, form: str) -> bytes:
    """Return a set in one of the export's formats."""
    if form == "jsonl":
        return b"".join(jsonl.write(content.queries, content.judgments))
    return "".join(trec.qrels_lines(content.qrels()) if form == "trec" else topics.topic_lines(content)).encode()


def _line(session: Session, one: JudgedSet) -> JudgedSetLine:
    found = store.counts(session, one.set_id)
    return JudgedSetLine(
        collection=one.collection,
        name=one.name,
        kind=one.kind,
        complete=one.complete,
        created_at=one.created_at,
        queries=found.queries,
        judged_queries=found.judged_queries,
        judgments=found.judgments,
        relevant=found.relevant,
    )


HANDLERS = [listing, read, add, remove]
