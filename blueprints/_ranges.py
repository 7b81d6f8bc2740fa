"""Which bytes a `Range` asks for (RFC 9110, section 14.2)."""

from werkzeug.http import parse_range_header

from cozyd.errors import RangeNotSatisfiable


def wanted(asked: str, size: int) -> tuple[int, int] | None:
    """The bytes of one range: from, up to. None: all are to be sent, for want of exactly one range, or of bytes.

    A range that happens to be all is one too: players take 206 for the sign that they may jump.
    :param asked: the header.
    :param size: of what is sent.
    :raises RangeNotSatisfiable: none of them exists, or it is malformed, which may be refused.
    """
    if not size:
        return None
    parsed = parse_range_header(asked)
    if parsed is None and ("=" not in asked or asked.strip().lower().startswith("bytes=")):
        raise RangeNotSatisfiable(size)
    if parsed is None or parsed.units != "bytes" or len(parsed.ranges) != 1:
        return None
    start, stop = parsed.ranges[0]
    if start < 0:  # of the last bytes, perhaps more than there are
        return max(0, size + start), size
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, min(stop or size, size)
