"""A relay that floods: the requests of a key that nobody knows, and of further keys.

A process of its own, so that signing them costs the one that is measured nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

SCRIPT = """
import asyncio, json, sys
from nostr_sdk import EventBuilder, Keys, Kind, Tag
from websockets.asyncio.server import serve

service, (seconds, each, characters) = sys.argv[1], map(int, sys.argv[2:5])
senders = [Keys.generate(), *(Keys.parse(nsec) for nsec in sys.argv[5:])]
per_second, flooded = each * len(senders), []

def event(number):
    tags = [Tag.parse(["p", service]), Tag.parse(["n", str(number)])]
    keys = senders[number % len(senders)]
    made = EventBuilder(Kind(21000), "A" * characters).tags(tags)
    return made.sign_with_keys(keys).as_json()

async def flood(connection, name):
    loop = asyncio.get_running_loop()
    started, sent = loop.time(), 0
    while sent < seconds * per_second:
        due = (loop.time() - started) * per_second
        while sent < min(due, seconds * per_second):
            await connection.send('["EVENT",%s,%s]' % (json.dumps(name), event(sent)))
            sent += 1
        await asyncio.sleep(0.01)
    print("done", sent, round(loop.time() - started, 1), flush=True)

async def talk(connection):
    async for text in connection:
        message = json.loads(text)
        if message[0] == "REQ" and message[1].startswith("requests") and not flooded:
            flooded.append(asyncio.ensure_future(flood(connection, message[1])))
        elif message[0] == "EVENT":
            await connection.send(json.dumps(["OK", message[1]["id"], True, ""]))
        if message[0] == "REQ":
            await connection.send(json.dumps(["EOSE", message[1]]))

async def main():
    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ws://127.0.0.1:{port}", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@dataclass
class Flood:
    """`ended` is done when all was sent: how many, and in how many seconds."""

    url: str
    ended: asyncio.Task[tuple[int, float]]


@asynccontextmanager
async def flood(
    service_hex: str, *nsecs: str, seconds: int, each_per_second: int, characters: int
) -> AsyncIterator[Flood]:
    """It begins when somebody asks the relay for requests."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT, service_hex),
        *map(str, (seconds, each_per_second, characters)),
        *nsecs,
        stdout=asyncio.subprocess.PIPE,
    )
    out = process.stdout
    assert out

    async def end() -> tuple[int, float]:
        _, sent, took = (await out.readline()).split()
        return int(sent), float(took)

    try:
        url = (await out.readline()).decode().strip()
        ended = asyncio.create_task(end())
        yield Flood(url, ended)
    finally:
        process.kill()
        await process.wait()


__all__ = ["Flood", "flood"]
