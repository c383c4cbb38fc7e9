"""What an offline W&B run wrote: its .wandb file is LevelDB's log of protobuf records."""

import json
import struct

from wandb.proto import wandb_internal_pb2

_BLOCK, _HEADER = 32768, 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read(path):
    """{"group", "tags", "name", "config", "history", "summary"} of one offline run."""
    found = {"config": {}, "history": [], "summary": {}}
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        match record.WhichOneof("record_type"):
            case "run":
                run = record.run
                found |= {"group": run.run_group, "tags": list(run.tags), "name": run.display_name}
                found["config"] |= _items(run.config.update)
            case "history":
                found["history"].append(_items(record.history.item))
            case "summary":
                found["summary"] |= _items(record.summary.update)
    return found


def _records(data):
    at, parts = _HEADER, b""  # the file opens with a header as long as a record's
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:  # too short for another header: the block is filled up
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + _HEADER])
        piece = data[at + _HEADER : at + _HEADER + length]
        if kind == 0 or len(piece) < length:
            return
        at += _HEADER + length
        parts = piece if kind in (_WHOLE, _FIRST) else parts + piece
        if kind in (_WHOLE, _LAST):
            yield parts


def _items(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
