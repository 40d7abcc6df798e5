"""`chiron data ...`: collects the verbs, one file each."""

import typer

from chiron.cli import data_audit, data_cache, data_fetch, data_inspect, data_make, data_show, data_split

app = typer.Typer(help="Fetch, look at, audit, split, make and keep data.", no_args_is_help=True, rich_markup_mode=None)
app.command("inspect")(data_inspect.inspect_command)
app.command("audit")(data_audit.audit_command)
app.command("split")(data_split.split_command)
app.command("show")(data_show.show_command)
app.command("make")(data_make.make_command)
app.command("cache")(data_cache.cache_command)
app.add_typer(data_fetch.app, name="fetch")
