"""Work after the reply, end to end: what `after` asks for runs once the answer has left, and jobs run in order."""

from typing import Any

from tests.fixtures_postgres import execute
from tests.running import Running, eventually

SIGNUP = """
function welcome(user)
  kv.incr("tries")
  log.info("a letter to " .. user.name, { trigger = request.trigger, event = request.event })
  if user.name == "nobody" then error{ retry = false, status = 422, body = "no such person" } end
  if user.name == "later" and kv.incr("later") then error("not now") end
  kv.set("letter/" .. user.name, request.id)
  return "is ignored"
end

return function(request)
  local id = after("welcome", { name = request.query.name })
  if request.query.fail then error("no") end
  return id
end
"""


def job(picloud: Running, identifier: str) -> dict[str, Any]:
    """A job that is over."""
    names = ("state", "attempts", "outcome", "status", "error")
    wanted = f"SELECT {', '.join(names)} FROM jobs WHERE id = %s::uuid"
    ((row,),) = [
        eventually(lambda: execute(picloud.database_url, wanted, identifier), lambda got: got[0][0] != "queued")
    ]
    return dict(zip(names, row, strict=True))


def test_it_runs_after_the_answer_and_what_it_returns_is_ignored(picloud: Running) -> None:
    picloud.deploy("signup", SIGNUP)
    answer = picloud.call("POST", "/fn/signup?name=ada")
    assert answer.status == 200
    done = job(picloud, answer.body.decode())
    assert (done["state"], done["outcome"], done["status"]) == ("done", "ok", 204)
    invocation = picloud.api("GET", "scripts/signup/kv/letter/ada").json
    assert invocation != answer.header("picloud-invocation")
    lines = eventually(lambda: picloud.api("GET", f"logs?invocation={invocation}").json["items"], bool)
    assert (lines[0]["message"], lines[0]["fields"]) == (
        "a letter to ada", {"trigger": "job", "event": {"after": "welcome"}},
    )  # fmt: skip


def test_whoever_fails_has_asked_for_nothing(picloud: Running) -> None:
    picloud.deploy("signup", SIGNUP)
    before = execute(picloud.database_url, "SELECT count(*) FROM jobs")
    assert picloud.call("POST", "/fn/signup?name=eve&fail=1").status == 500
    assert execute(picloud.database_url, "SELECT count(*) FROM jobs") == before


def test_what_is_not_to_be_tried_again_is_dead_at_once(picloud: Running) -> None:
    picloud.deploy("signup", SIGNUP)
    dead = job(picloud, picloud.call("POST", "/fn/signup?name=nobody").body.decode())
    assert (dead["state"], dead["attempts"]) == ("dead", 1)


def test_what_fails_is_tried_as_often_as_the_settings_say_and_undone_each_time(picloud: Running) -> None:
    picloud.deploy("signup-later", SIGNUP)
    picloud.set("signup-later", {"retry": {"max_attempts": 2, "backoff_ms": 0}})
    dead = job(picloud, picloud.call("POST", "/fn/signup-later?name=later").body.decode())
    assert (dead["state"], dead["attempts"], dead["outcome"]) == ("dead", 2, "script-error")
    assert "not now" in dead["error"]
    assert picloud.api("GET", "scripts/signup-later/kv").json["items"] == []


def test_jobs_with_an_ordering_key_are_done_in_the_order_of_their_sending(picloud: Running) -> None:
    source = """
    if request.trigger == "job" then
      local said = kv.get("said") or json.array{}
      said[#said + 1] = request:json()
      kv.set("said", said)
      return nil
    end
    for n = 1, 20 do jobs.send("ordered", n, { ordering_key = "one" }) end
    return "sent"
    """
    picloud.deploy("ordered", source)
    assert picloud.call("POST", "/fn/ordered").body == b"sent"

    def said() -> Any:
        found = picloud.api("GET", "scripts/ordered/kv/said")
        return found.json if found.status == 200 else []

    assert eventually(said, lambda numbers: len(numbers) == 20) == list(range(1, 21))
