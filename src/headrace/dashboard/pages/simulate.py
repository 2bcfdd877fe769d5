"""Try policies on the past: a form made from the declaration, and the simulations that there are."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from headrace.dashboard.forms import PostedForm
from headrace.dashboard.pages.of_system import beside
from headrace.dashboard.parts import WriteOutcome
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path
from headrace.dashboard.words import lasted, moment

PRESETS = {"never": "never again", "7d": "weekly", "1d": "daily"}
"""Calendars to hold against the declared policy, and what they are called."""
DECLARED, OWN = "declared", 2
"""The name of the policy that is in use; and how many policies of one's own a form takes."""
_STEPS = ("1h", "6h", "12h", "1d", "7d")
_DAYS, _LIMIT = timedelta(days=14), 50
_EXAMPLE = "schedule:\n  train: never\n  retrain:\n    - {kind: cost_aware, alpha: 0.5}"


async def simulate(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    return await _with(view, None, [], "")


async def _with(
    view: PageView, form: PostedForm | None, errors: Sequence[Mapping[str, Any]], trouble: str
) -> dict[str, Any]:
    name = view.request.path_params["name"]
    query = {"limit": _LIMIT, "cursor": view.asked("cursor") or None}
    frame, answer = await asyncio.gather(
        beside(view, "simulate"), view.api.get(system_path(name, "simulations"), query)
    )
    values = _defaults(frame["status"], view.now) if form is None else _posted(form)
    wrong = dict(_fault(error, values["policies"]) for error in errors if error.get("loc"))
    return {
        **frame,
        "simulations": answer["simulations"],
        "next": answer.get("next"),
        "values": values,
        "steps": list(dict.fromkeys([*_declared_step(frame["status"]), *_STEPS, values["every"]])),
        "presets": PRESETS,
        "example": _EXAMPLE,
        "wrong": wrong,
        "trouble": "" if set(wrong) & _fields() else trouble,
        "may_simulate": view.may(name, "write"),
    }


def _fields() -> set[str]:
    """Fields that tell what is wrong with them."""
    return {"start", "end", "every", "beside", *(f"{part}.{n}" for part in ("name", "policy") for n in range(OWN))}


def _fault(error: Mapping[str, Any], policies: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """The field that an error is about, and what is wrong: what the API says of a policy begins with its name."""
    place, message = str(error["loc"][-1]), str(error["msg"])
    for number, policy in enumerate(policies):
        name = _name(policy, number)
        if policy["text"].strip() and place.startswith(f"{name}: "):
            return f"policy.{number}", f"{place.removeprefix(f'{name}: ')}: {message}"
    return place, message


def _declared_step(status: Mapping[str, Any]) -> list[str]:
    """From one run to the next, as the schedule has it."""
    seconds = (status.get("next_run") or {}).get("every_seconds")
    return [] if not seconds else [lasted(seconds).replace(" ", "").replace("min", "m")]


def _defaults(status: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The last two weeks that are known, a run a day, beside a champion that is never trained again."""
    freshness = status.get("freshness") or {}
    known = moment(freshness.get("known_at")) or moment(freshness.get("newest")) or now
    end = known.replace(hour=0, minute=0, second=0, microsecond=0)
    policies = [{"name": "", "text": ""} for _ in range(OWN)]
    return {"start": _local(end - _DAYS), "end": _local(end), "every": "1d", "beside": ["never"], "policies": policies}


def _local(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M}"


def _posted(form: PostedForm) -> dict[str, Any]:
    policies = [{"name": form.first(f"name.{n}"), "text": form.first(f"policy.{n}")} for n in range(OWN)]
    times = {part: form.first(part) for part in ("start", "end", "every")}
    return {**times, "beside": form.all("beside"), "policies": policies}


async def start(view: PageView, form: PostedForm) -> WriteOutcome:
    """Have the policies tried, and go on at the page of the simulation; or say what is wrong with which field."""
    name = view.request.path_params["name"]
    errors, trouble = list[dict[str, Any]](), ""
    try:
        body = _body(form)
        newest = await view.api.get(system_path(name, "simulations"), {"limit": 1})
        begun = await view.api.post(system_path(name, "simulations"), body, key=_key(view, newest, body))
        notice = f"The simulation waits for its turn: {', '.join(begun['names'])}."
        return WriteOutcome(notice, view.path("systems", name, "simulate", begun["id"]))
    except ApiRefusal as refused:
        if refused.status not in (409, 422, 503):
            raise
        errors, trouble = refused.errors, refused.detail
    return WriteOutcome(template="simulate.html", context=await _with(view, form, errors, trouble))


def _body(form: PostedForm) -> dict[str, Any]:
    """What is asked of the API.

    Raises:
        ApiRefusal: 422: a policy is not YAML, or has no name.
    """
    posted = _posted(form)
    policies: dict[str, Any] = {DECLARED: {}}
    for number, policy in enumerate(posted["policies"]):
        if not policy["text"].strip() and not policy["name"].strip():
            continue
        name = _name(policy, number)
        if name in policies:
            raise _wrong(f"name.{number}", f"{name} is there already")
        policies[name] = _policy(policy["text"], f"policy.{number}")
    times = {part: f"{posted[part]}:00Z" if len(posted[part]) == 16 else posted[part] for part in ("start", "end")}
    return {**times, "every": posted["every"], "policies": policies, "beside": posted["beside"]}


def _name(policy: Mapping[str, str], number: int) -> str:
    return policy["name"].strip() or f"policy {number + 1}"


def _policy(text: str, field: str) -> dict[str, Any]:
    """What a policy says.

    Raises:
        ApiRefusal: 422: it is not YAML, has anchors, which grow without bounds, or is no mapping.
    """
    import yaml

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise _wrong(field, "has anchors; write each value where it is meant")
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _wrong(field, f"is not YAML: {_place(error)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise _wrong(field, "must be fields with values, such as schedule: {train: 1d}")
    return {str(key): value for key, value in values.items()}


def _place(error: Any) -> str:
    """What a parser met, and where."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    return str(problem) if mark is None else f"line {mark.line + 1}: {problem}"


def _wrong(field: str, message: str) -> ApiRefusal:
    return ApiRefusal(422, "not as it should be", message, errors=[{"loc": ["body", field], "msg": message}])


def _key(view: PageView, newest: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """The same for the same form sent twice; another one as soon as a simulation came of it."""
    last = next((simulation["id"] for simulation in newest["simulations"]), "")
    text = json.dumps([view.session.salt, last, body], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def cancel(view: PageView, form: PostedForm) -> WriteOutcome:
    """End a simulation that waits or is being done."""
    name, simulation = view.request.path_params["name"], view.request.path_params["simulation_id"]
    await view.api.delete(system_path(name, "simulations", simulation))
    return WriteOutcome("The simulation is cancelled.", view.path("systems", name, "simulate", simulation))
