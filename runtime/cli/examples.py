"""Examples of the runtime's commands, which stand at the end of their ``--help``; a test parses each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from typer.main import get_command_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import typer

OBJECTS: Final = {
    "ls": ("tandem ls -s dev", "tandem ls -s dev avatars:u/", "tandem ls -r -l avatars:"),
    "stat": ("tandem stat avatars:u/1.jpg",),
    "cat": ("tandem cat avatars:u/1.jpg > 1.jpg", "tandem cat --range 0-99 exports:all.csv"),
    "cp": (
        "tandem cp 1.jpg avatars:u/1.jpg",
        "tandem cp -r avatars:u/ ./backup/",
        "tandem cp - exports:all.csv < all.csv",
    ),
    "sync": ("tandem sync ./site media:site/ --dry-run", "tandem sync ./site media:site/ --prune --max-delete 100"),
    "migrate": ("tandem migrate media-old media -s prod", "tandem migrate media-old media -s prod --cut-over --app ."),
    "rm": ("tandem rm avatars:u/1.jpg", "tandem rm -r avatars:u --dry-run"),
    "sweep": ("tandem sweep --older-than 2d --dry-run",),
    "url": (
        "tandem url avatars:u/1.jpg --expires 15m",
        "tandem url uploads:1.png --method PUT --content-type image/png",
    ),
    "doctor": ("tandem doctor -s dev", "tandem doctor -s dev --write"),
}

CONFIG: Final = {
    "show": ("tandem config show -s dev",),
    "schema": ("tandem config schema > storage.schema.json",),
    "export": (
        "tandem config export -s prod --to kubernetes -o storage.k8s.yaml",
        "tandem config export -s prod --to ssm -o ssm:/apps/shop/storage",
    ),
    "from-terraform": ("terraform output -json | tandem config from-terraform - -o storage.yaml",),
}


def illustrate(app: typer.Typer, examples: Mapping[str, tuple[str, ...]]) -> None:
    """Put *examples* below the help of the commands of *app*, by their names."""
    for command in app.registered_commands:
        name = command.name or (get_command_name(command.callback.__name__) if command.callback else "")
        if name in examples:
            command.epilog = "\n".join(["Examples:", *(f"  {line}" for line in examples[name])])
