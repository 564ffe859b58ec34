"""`/problems` and `/problems/NAME`: what each problem means, for people and for programs."""

from html import escape

import falcon
import msgspec

from picloud.api import problems
from picloud.errors import NotFound
from picloud.messages.endpoint import Answer, endpoint
from picloud.messages.html import VARY, send_html, wants_json
from picloud.messages.writing import send_json


class ProblemPageShape(msgspec.Struct):
    """What there is to know of a problem."""

    type: str
    status: int
    title: str
    when: str
    advice: str


class ProblemListShape(msgspec.Struct):
    """Every problem that there is."""

    items: list[ProblemPageShape]


class ProblemsPage:
    """`/problems`"""

    @endpoint(None, answers={200: Answer(ProblemListShape, media=("text/html",), headers=VARY)})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List what can go wrong; JSON if asked for."""
        resp.set_header("vary", "Accept")
        if wants_json(req):
            send_json(resp, ProblemListShape([_shape(row) for row in problems.TABLE.values()]))
            return
        rows = "".join(
            f"<tr><td><a href='/problems/{row.name}'>{row.name}</a><td>{row.status}<td>{escape(row.title)}"
            for row in problems.TABLE.values()
        )
        send_html(resp, "Problems", f"<table><tr><th>Name<th>Status<th>Meaning{rows}</table>")


class ProblemPage:
    """`/problems/NAME`"""

    @endpoint(
        None, answers={200: Answer(ProblemPageShape, media=("text/html",), headers=VARY)}, problems=("not-found",)
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Tell what a problem means, when it comes and what to do about it; JSON if asked for."""
        row = problems.TABLE.get(name)
        if row is None:
            raise NotFound(f"there is no problem named '{name}'; /problems lists them")
        resp.set_header("vary", "Accept")
        if wants_json(req):
            send_json(resp, _shape(row))
            return
        send_html(
            resp,
            f"{row.name} ({row.status})",
            f"<p><b>{_prose(row.title)}.</b></p><p>{_prose(row.when)}</p><p>What to do: {_prose(row.advice)}</p>"
            "<p><a href='/problems'>All problems</a></p>",
        )


def _shape(row: problems.Problem) -> ProblemPageShape:
    return ProblemPageShape(f"/problems/{row.name}", row.status, row.title, row.when, row.advice)


def _prose(text: str) -> str:
    """Every second piece between backticks is code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
