"""Where an answer of ours differs from the recorded one on purpose: the number of the request, and why."""

VIEWS = "the fixture has no JavaScript views, which the old server counted among its documents"
CURSOR = "our cursor names the last entry, not the next one; clients follow the link as it is"
STATISTICS = "sizes and statistics are the store's own"
KEPT: dict[int, str] = {
    4: "the old server decodes `%2B` twice and could not tell it from a space",
    21: STATISTICS,
    23: VIEWS,
    24: VIEWS,
    25: VIEWS,
    27: VIEWS,
    28: VIEWS,
    34: "a missing design document is refused as any other one",
    36: STATISTICS,
    41: STATISTICS,
    69: CURSOR,
    72: "the ETag of an old content is its own, not the present content's",
    73: "the ETag of an old content is its own, not the present content's",
    74: "the ETag of an old content is its own, not the present content's",
    94: "`fields` does not make us forget where a file is",
    96: "`skip_trashed` skips what is in the trash, whatever `fields` says",
    98: VIEWS,
    99: VIEWS,
    100: "an empty list is `[]`, as the old server's source has it",
    102: CURSOR,
    112: CURSOR,
    123: "a refusal does not repeat the token",
    124: CURSOR,
    125: "a refusal does not repeat the token",
    142: "the token of a device is not shown",
    171: "the app of the redirect is not installed",
}
