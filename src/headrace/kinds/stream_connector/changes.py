"""What changing a StreamConnector does."""

from headrace.kinds.verdict import AT_ONCE, NEW_QUERY, NEXT_BEGIN, NEXT_RECORD, RESETS, Verdict

_SOURCE = RESETS["source"]
_COLUMNS = NEW_QUERY.saying(
    "New rows have the new columns. If columns were only added, queries continue with the columns they started with. "
    "Otherwise they change: without windows and joins they continue, any other restarts."
)
_TYPED = _SOURCE.saying(
    "Records in the log do not fit a different column type: the source must be read from its start."
)
_KEPT = NEXT_RECORD.saying("Acts on records that arrive from now on. Records in the log stay as they are.")
_INPUT = NEXT_RECORD.saying("The sink resumes where it last stopped in the newly declared topic; a topic it never wrote is written from its start.")  # fmt: skip
_SHARED: dict[str, Verdict] = {
    "direction": AT_ONCE.saying("The stage of the previous direction ends; what it wrote stays. The other starts."),
    "type": _SOURCE.saying("Positions do not carry over between technologies: the source must be read from its start."),
    "schema": _COLUMNS,
    "schema.name": _COLUMNS,
    "schema.type": _TYPED,
    "key": _KEPT,
    "id": _KEPT,
    "eventTime.column": _SOURCE.saying("Records in the log carry the time of the previous column: the source must be read from its start."),
    "eventTime.outOfOrderness": AT_ONCE,
    "eventTime.idleTimeout": AT_ONCE,
    "eventTime.maxAhead": _KEPT,
    "timeline": _KEPT,
    "retention": AT_ONCE,
    "table": NEW_QUERY,
    "table.validFrom": _KEPT.saying("Acts on rows that are joined from now on."),
    "input.streamFinetuner": _INPUT,
    "input.streamConnector": _INPUT,
    "input.topic": _INPUT,
}  # fmt: skip
_FILE: dict[str, Verdict] = {
    "path": NEXT_RECORD.saying("Files with a new name are read from their start. A file with the same name must begin with the same content."),
    "format": _SOURCE.saying("Positions do not carry over between formats: the source must be read from its start."),
    "follow": AT_ONCE,
    "maxRecordBytes": _KEPT,
    "delimiter": NEXT_RECORD.saying("Acts on files that are opened from now on, and on the rest of a partly read file."),
    "envelope": _KEPT,
}  # fmt: skip
_DOCUMENTS: dict[str, Verdict] = {
    "path": NEXT_RECORD.saying("The new folder is compared with the known documents: new ones are read, missing ones are deleted."),
    "glob": NEXT_RECORD.saying("Documents that now match are read; those that no longer match are deleted."),
    "follow": AT_ONCE,
    "pollInterval": AT_ONCE,
    "maxBytes": _KEPT,
    "maxPages": _KEPT,
    "timeout": _KEPT,
}  # fmt: skip
_GENERATOR: dict[str, Verdict] = {
    "seed": _KEPT,
    "rate": AT_ONCE,
    "count": AT_ONCE,
    "fields": _COLUMNS,
    "fields.name": _COLUMNS,
    **dict.fromkeys(("fields.kind", "fields.whole"), _TYPED),
    **{
        f"fields.{key}": _KEPT
        for key in ("start", "step", "low", "high", "mean", "deviation", "values", "weights", "interval", "disorder")
    },
}
_HTTP: dict[str, Verdict] = {"maxBodyBytes": AT_ONCE, "maxRecordBytes": _KEPT, "keep": AT_ONCE, "envelope": _KEPT}
_KAFKA: dict[str, Verdict] = {
    "bootstrapServers": AT_ONCE.saying("Offsets are kept, so the servers must belong to the same cluster; for a different one, reset from source."),
    "topic": _SOURCE.saying("Offsets do not carry over between topics: the new one must be read from its start."),
    "schemaRegistry.url": _KEPT,
    "schemaRegistry.user": AT_ONCE,
    "schemaRegistry.password": AT_ONCE,
    "properties": AT_ONCE,
    "format": _KEPT,
    "start": NEXT_BEGIN.saying("Acts when the source is next read from scratch: after a reset from source."),
    "bounded": AT_ONCE.saying("true: reading ends at the current end of the topic. false: reading continues."),
    "keyColumn": _COLUMNS,
    "headersColumn": _COLUMNS,
    "maxRecordBytes": _KEPT,
}  # fmt: skip
_WRITTEN = NEXT_RECORD.saying("Acts on records written from now on. Earlier ones stay as they are.")
_AGAIN = RESETS["sink"].saying(
    "Prepared writes do not carry over to another target: the sink must write its topic again from its start."
)
_WRITES: dict[str, tuple[str, ...]] = {
    "file": ("format", "rollRecords", "rollBytes", "metadata"),
    "kafka": ("bootstrapServers", "topic", "key", "schemaRegistry.url", "schemaRegistry.user", "schemaRegistry.password",
              "properties", "format", "metadata"),
    "stdout": ("metadata",),
    "webhook": ("url", "method", "headers", "batchRecords", "timeout", "retryFor", "metadata"),
}  # fmt: skip
_SINKS: dict[str, dict[str, Verdict]] = {name: dict.fromkeys(keys, _WRITTEN) for name, keys in _WRITES.items()}
_SINKS["file"] |= {"path": _AGAIN}
_BLOCKS: dict[str, dict[str, Verdict]] = {
    "source/file": _FILE,
    "source/documents": _DOCUMENTS,
    "source/generator": _GENERATOR,
    "source/http": _HTTP,
    "source/kafka": _KAFKA,
    **{f"sink/{name}": block for name, block in _SINKS.items()},
}


def verdicts(variant: str) -> dict[str, Verdict]:
    """Of a `DIRECTION/TYPE`. A technology that others install says nothing of its options: a source must be read again."""
    block = variant.partition("/")[2]
    type_ = {"type": _AGAIN} if variant.startswith("sink/") else {}
    if variant not in _BLOCKS:
        return {**_SHARED, **type_, block: _SOURCE if variant.startswith("source/") else _WRITTEN}
    own = {f"{block}.{key}": verdict for key, verdict in _BLOCKS[variant].items()}
    return {**_SHARED, **type_, **own}
