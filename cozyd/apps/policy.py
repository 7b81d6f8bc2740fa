"""The Content-Security-Policy of an app's pages. No I/O."""

from collections.abc import Iterable


def policy(scheme: str, domain: str, base: str, *, framers: Iterable[str] = (), allowed: Iterable[str] = ()) -> str:
    """What a page of an app may load, and who may frame it.

    :param domain: of the instance, with its port.
    :param base: below which hosts of apps are: the domain, or its parent where hosts are flat.
    :param framers: origins of other apps that may frame this page.
    :param allowed: origins that every app may load from, the operator's own choice.
    """
    own = f"{scheme}://{domain}"
    socket = f"{'wss' if scheme == 'https' else 'ws'}://{domain}"
    default = f"'self' {own} {socket}"
    more = "".join(f" {origin}" for origin in allowed)
    frames = "".join(f" {origin}" for origin in framers)
    return (
        f"default-src {default}{more};"
        f"script-src 'wasm-unsafe-eval' {default}{more};"
        f"frame-src {scheme}://*.{base} {own} cozydrive: cozybanks:;"
        f"connect-src blob: {default}{more};"
        f"font-src data: {default}{more};"
        f"img-src data: blob: {default}{more};"
        f"media-src blob: {default}{more};"
        "object-src 'none';"
        f"style-src 'unsafe-inline' {default}{more};"
        "worker-src 'self' blob:;"
        f"frame-ancestors 'self'{frames};"
        "base-uri 'self';"
        f"form-action 'self' {own};"
    )
