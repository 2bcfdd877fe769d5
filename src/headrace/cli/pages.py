"""The command that shows pages."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.command import Common, command


@command
def dashboard(
    use: Common,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Of a running API; else HEADRACE_URL, or port 8000 here.")
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="H", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="P", help="Port to listen on.")] = 8080,
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="What a proxy has taken off the path.")
    ] = "",
    proxies: Annotated[
        str, typer.Option("--forwarded-allow-ips", metavar="LIST", help="Proxies whose X-Forwarded-* count.")
    ] = "127.0.0.1",
    read_only: Annotated[bool, typer.Option("--read-only", help="Nothing can be changed through the pages.")] = False,
) -> None:
    """Show pages about all systems. From a running API; `headrace serve` has them too."""
    from pydantic import ValidationError

    from headrace import console
    from headrace.client.connecting import DEFAULT
    from headrace.dashboard.options import DashboardOptions
    from headrace.dashboard.server import Place, serve
    from headrace.errors import UsageError

    url = url or use.open(make=False).settings.url or DEFAULT
    given = {"url": url.rstrip("/"), "host": host, "port": port, "root_path": root_path, "forwarded_allow_ips": proxies}
    try:
        place = Place.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(str(first["msg"]), where=f"--{str(first['loc'][0]).replace('_', '-')}") from error
    started = {"address": place.address, "api": place.url}
    serve(place, DashboardOptions(read_only=read_only), lambda: console.print_started(started, [], as_json=use.json))
