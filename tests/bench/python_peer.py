#!/usr/bin/env python3
"""What lyquor's Python package is measured beside: pyzmq, zmq.asyncio and asyncio's streams, each in the plain loop
that its manual shows. One process listens and receives, or answers; the other connects, sends, and reports.

usage: python_peer.py zmq|zmq.asyncio|streams thr|lat listen|connect PORT SIZE COUNT
"""

import asyncio
import json
import struct
import sys
import time

import zmq
import zmq.asyncio

HIGH_WATER = 100_000  # messages: enough that waiting for room is not what is measured


def report(mode, size, count, seconds, trips=()):
    row = {"mode": mode, "size": size, "count": count, "messages_per_s": round(count / seconds)}
    if trips:
        row["p50_us"] = sorted(trips)[len(trips) // 2] * 1e6
    print(json.dumps(row), flush=True)


def endpoint(context, kind, role, port):
    socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    if role == "listen":
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        print(port, flush=True)
    else:
        socket.connect(f"tcp://127.0.0.1:{port}")
    return socket


# The first message says that the connection is there, the last one is answered.


def run_zmq(mode, role, port, size, count):
    socket = endpoint(zmq.Context(), zmq.PAIR, role, port)
    data, trips = bytes(size), []
    if role == "listen":
        socket.send(socket.recv())
        if mode == "lat":
            for _ in range(count):
                socket.send(socket.recv())
            socket.recv()
            return
        for _ in range(count):
            socket.recv()
        socket.send(b"all")
        socket.recv()
        return
    socket.send(b"there?")
    socket.recv()
    start = time.perf_counter()
    if mode == "lat":
        for _ in range(count):
            begun = time.perf_counter()
            socket.send(data)
            socket.recv()
            trips.append(time.perf_counter() - begun)
    else:
        for _ in range(count):
            socket.send(data)
        socket.recv()
    report(mode, size, count, time.perf_counter() - start, trips)
    socket.send(b"bye")


async def run_zmq_asyncio(mode, role, port, size, count):
    socket = endpoint(zmq.asyncio.Context(), zmq.PAIR, role, port)
    data, trips = bytes(size), []
    if role == "listen":
        await socket.send(await socket.recv())
        if mode == "lat":
            for _ in range(count):
                await socket.send(await socket.recv())
            await socket.recv()
            return
        for _ in range(count):
            await socket.recv()
        await socket.send(b"all")
        await socket.recv()
        return
    await socket.send(b"there?")
    await socket.recv()
    start = time.perf_counter()
    if mode == "lat":
        for _ in range(count):
            begun = time.perf_counter()
            await socket.send(data)
            await socket.recv()
            trips.append(time.perf_counter() - begun)
    else:
        for _ in range(count):
            await socket.send(data)
        await socket.recv()
    report(mode, size, count, time.perf_counter() - start, trips)
    await socket.send(b"bye")


async def put(writer, data):
    """Sends a message with its length before it."""
    writer.write(struct.pack("<I", len(data)) + data)
    await writer.drain()


async def get(reader):
    (size,) = struct.unpack("<I", await reader.readexactly(4))
    return await reader.readexactly(size)


async def run_streams(mode, role, port, size, count):
    data, trips = bytes(size), []
    if role == "listen":
        came = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda *both: came.set_result(both), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        reader, writer = await came
        if mode == "lat":
            for _ in range(count):
                await put(writer, await get(reader))
        else:
            for _ in range(count):
                await get(reader)
            await put(writer, b"all")
        await reader.read()
        writer.close()
        return
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.perf_counter()
    if mode == "lat":
        for _ in range(count):
            begun = time.perf_counter()
            await put(writer, data)
            await get(reader)
            trips.append(time.perf_counter() - begun)
    else:
        for _ in range(count):
            await put(writer, data)
        await get(reader)
    report(mode, size, count, time.perf_counter() - start, trips)
    writer.close()


def main():
    who, mode, role, port, size, count = sys.argv[1:]
    arguments = mode, role, int(port), int(size), int(count)
    if who == "zmq":
        run_zmq(*arguments)
    else:
        asyncio.run({"zmq.asyncio": run_zmq_asyncio, "streams": run_streams}[who](*arguments))


if __name__ == "__main__":
    main()
