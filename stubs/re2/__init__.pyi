from typing import Any

class error(Exception): ...

class Options:
    log_errors: bool
    max_mem: int

class Pattern:
    def search(self, text: str) -> Any: ...

def compile(pattern: str, options: Options) -> Pattern: ...
