
import pathlib, tempfile
def main(name):
    if not (pathlib.Path(tempfile.gettempdir()) / ("healed-" + name)).exists():
        raise RuntimeError("not healed")
    return "healed"
