"""What is known about a user: preferences, their history, all of it as an export, and its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from pad_langchain.server.api.replies import Export, Known, SettingsReply, ThreadDeleted, UserDeleted
from pad_langchain.server.identity import Caller, administrator, memory_user
from pad_langchain.server.service import service_of, user_of
from pad_memory import Preference, PreferenceMemory

__all__ = ["router"]

router = APIRouter()


@router.get("/v1/preferences", response_model=Known, response_model_exclude_unset=True)
async def list_preferences(request: Request, query: str | None = None, thread: str | None = None) -> dict[str, Any]:
    """List what the user likes, or with `query` what would steer its answer now."""
    service = service_of(request)
    user = user_of(request)
    if query is None:
        return await service.remember("profile", _known, service.memory, user)
    return await service.remember("condition", _steering, service.memory, user, query, thread)


@router.get("/v1/preferences/history", response_model=Known, response_model_exclude_unset=True)
async def list_history(request: Request) -> dict[str, Any]:
    """List every wish in words that the user had, the oldest first."""
    service = service_of(request)
    user = user_of(request)
    return await service.remember("history", _history, service.memory, user)


@router.get("/v1/me", response_model=Export, response_model_exclude_unset=True)
async def export_me(request: Request) -> dict[str, Any]:
    """Return all that is kept about the user."""
    service = service_of(request)
    user = user_of(request)
    return await service.remember("export", service.memory.export, user)


class MySettings(BaseModel):
    """What a user sets; what is left out stays."""

    model_config = ConfigDict(strict=True, extra="forbid")

    paused: bool | None = None
    time_zone: str | None = None


@router.get("/v1/me/settings", response_model=SettingsReply)
async def read_settings(request: Request) -> dict[str, Any]:
    """Return what the user set: whether nothing is recorded, and whose clock they mean by "today"."""
    service = service_of(request)
    return await service.remember("settings", _settings, service.memory, user_of(request))


@router.patch("/v1/me/settings", response_model=SettingsReply)
async def change_settings(body: MySettings, request: Request) -> dict[str, Any]:
    """Pause or resume, or name the time zone."""
    service = service_of(request)
    return await service.remember("settings", _change, service.memory, user_of(request), body)


@router.delete("/v1/me/threads/{thread:path}", response_model=ThreadDeleted)
async def end_thread(thread: str, request: Request) -> dict[str, Any]:
    """Say that a conversation is over: what was kept for it only is erased."""
    service = service_of(request)
    rows = await service.remember("forget", service.memory.end_thread, user_of(request), thread)
    return {"object": "thread.deleted", "id": thread, "deleted": True, "rows": rows}


@router.delete("/v1/me", response_model=UserDeleted)
async def erase_me(request: Request) -> dict[str, Any]:
    """Erase all that is kept about the user."""
    service = service_of(request)
    user = user_of(request)
    return _erased(await service.remember("forget", service.memory.forget, user))


@router.get("/admin/users/{user:path}", response_model=Export, response_model_exclude_unset=True)
async def export_user(user: str, request: Request) -> dict[str, Any]:
    """Return all that is kept about a user of the key's tenant."""
    service = service_of(request)
    return await service.remember("export", service.memory.export, _named(request, user))


@router.delete("/admin/users/{user:path}", response_model=UserDeleted)
async def erase_user(user: str, request: Request) -> dict[str, Any]:
    """Erase all that is kept about a user of the key's tenant."""
    service = service_of(request)
    return _erased(await service.remember("forget", service.memory.forget, _named(request, user)))


def _named(request: Request, user: str) -> str:
    """The memory's id of a user whom an administrator of their tenant names."""
    caller: Caller = request.state.caller
    administrator(caller)
    return memory_user(caller.tenant, user)


def _settings(memory: PreferenceMemory, user: str) -> dict[str, Any]:
    profile = memory.profile(user)
    return {"object": "settings", "paused": profile.paused, "time_zone": profile.time_zone}


def _change(memory: PreferenceMemory, user: str, body: MySettings) -> dict[str, Any]:
    if body.time_zone is not None:
        memory.set_time_zone(user, body.time_zone)
    if body.paused is not None:
        (memory.pause if body.paused else memory.resume)(user)
    return _settings(memory, user)


def _known(memory: PreferenceMemory, user: str) -> dict[str, Any]:
    profile = memory.profile(user)
    more = {"leanings": _listed(profile.leanings, profile.reasons), "later": _listed(profile.later, {})}
    drifts, taste = profile.drifts, profile.taste
    return {
        **_listed(profile.preferences, profile.reasons),
        **{name: each["data"] for name, each in more.items()},
        **({"drifts": [drift.to_dict() for drift in drifts]} if drifts else {}),
        **({} if taste is None else {"taste": {"why": taste.why(), "evidence": taste.evidence}}),
    }


def _steering(memory: PreferenceMemory, user: str, query: str, thread: str | None) -> dict[str, Any]:
    return _listed(memory.condition(user, query=query, thread=thread), memory.profile(user).reasons)


def _history(memory: PreferenceMemory, user: str) -> dict[str, Any]:
    return _listed(memory.history(user), memory.profile(user).reasons)


def _listed(preferences: Iterable[Preference], reasons: Mapping[str, str]) -> dict[str, Any]:
    names = ("key", "text", "weight", "confidence", "source", "scope", "evidence", "valid_from", "valid_to")
    rare = ("expired", "answers_left", "sensitive")
    data = [
        {
            **{name: getattr(item, name) for name in names},
            **{name: value for name in rare if (value := getattr(item, name)) not in (None, False, ())},
            "why": reasons.get(item.key) if item.ended_by is None and not item.expired else None,
        }
        for item in preferences
    ]
    return {"object": "list", "data": data}


def _erased(rows: int) -> dict[str, Any]:
    return {"object": "user.deleted", "deleted": True, "rows": rows}
