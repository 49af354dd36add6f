"""The key of the management API: made once per app, valid after a restart."""

from __future__ import annotations

import secrets
from pathlib import Path

FOLDER = ".localhost"


def webhook_key(app: Path) -> str:
    """Return the app's key, made at first use and kept in its ``.localhost/``.

    Two hosts that start at once get the same one: who comes second reads it.
    """
    path = app / FOLDER / "webhook-key"
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f"webhook-key.{secrets.token_hex(4)}")
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(32))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
