#!/usr/bin/env python3
"""A link simulator: a TCP relay that delivers every byte a fixed time after it came.

    delay.py LISTEN-PORT HOST:PORT MILLISECONDS [MARK]

Stands for one leg of a long path, since this kernel has no netem. It delays the
accept as the first round trip of a real connect would (one way out, one way
back). With MARK, its own outgoing connections carry that firewall mark.
"""
import asyncio
import socket
import sys

SO_MARK = 36


async def carry(reader, writer, delay):
    queue = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def deliver():
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if data is None:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    task = asyncio.create_task(deliver())
    try:
        while data := await reader.read(65536):
            queue.put_nowait((loop.time() + delay, data))
    except ConnectionError:
        pass
    queue.put_nowait((loop.time() + delay, None))
    try:
        await task
    except ConnectionError:
        pass


async def main():
    port, target, delay = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) / 1000
    mark = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    host, _, target_port = target.rpartition(":")

    async def on_connection(reader, writer):
        # The kernel here answered the SYN at once; a far host's answer takes there and back.
        await asyncio.sleep(2 * delay)
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, int(target_port)))
        except OSError:
            writer.transport.abort()
            return
        out_reader, out_writer = await asyncio.open_connection(sock=sock)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.gather(carry(reader, out_writer, delay), carry(out_reader, writer, delay))
        out_writer.close()
        writer.close()

    server = await asyncio.start_server(on_connection, "0.0.0.0", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
