
import os, pathlib, hashlib, tempfile
def main(name):
    p = pathlib.Path(tempfile.gettempdir()) / ("flaky-" + hashlib.sha1(name["key"].encode()).hexdigest())
    n = int(p.read_text()) if p.exists() else 0
    p.write_text(str(n + 1))
    if n < name["fail"]:
        raise RuntimeError(f"flaky attempt {n + 1}")
    return f"ok after {n + 1}"
