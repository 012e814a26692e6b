"""client.py DIRECTORY BED: asyncssh against our server.

DIRECTORY holds user_*, other_* and host_*.pub keys; BED is the command that serves one connection. What does not come out as it
should ends the program with a traceback; what was done is printed, one line each.
"""
import asyncio
import hashlib
import os
import sys

import asyncssh

directory, bed = sys.argv[1:3]
HOST_KEYS = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512"]
EXCHANGES = ["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"]
CIPHERS = {
    "chacha20-poly1305@openssh.com": [None],
    "aes256-gcm@openssh.com": [None],
    "aes128-gcm@openssh.com": [None],
    "aes256-ctr": ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"],
    "aes128-ctr": ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"],
}


def key(name):
    return os.path.join(directory, name)


def connect(user="someone", keys=("user_ed25519",), **options):
    hosts = [open(key(f"host_{kind}.pub")).read().strip() for kind in ("ed25519", "ecdsa", "rsa")]
    known = asyncssh.import_known_hosts("".join(f"bed {line}\n" for line in hosts))
    return asyncssh.connect(
        "bed", username=user, client_keys=[key(name) for name in keys], known_hosts=known, proxy_command=bed, config=None,
        agent_path=None, **options)


async def algorithms():
    count = 0
    for host_key in HOST_KEYS:
        for exchange in EXCHANGES:
            for cipher, macs in CIPHERS.items():
                for mac in macs:
                    options = dict(server_host_key_algs=[host_key], kex_algs=[exchange], encryption_algs=[cipher])
                    if mac:
                        options["mac_algs"] = [mac]
                    async with connect(**options) as connection:
                        assert connection.get_extra_info("send_cipher") == cipher
                        if mac:
                            assert connection.get_extra_info("recv_mac") == mac
                        result = await connection.run("cat", input="hello")
                        assert (result.exit_status, result.stdout, result.stderr) == (0, "hello", ""), options
                        count += 1
    print(f"{count} combinations of algorithms")


async def users():
    for name in ("user_ed25519", "user_ecdsa", "user_rsa"):
        async with connect(keys=[name]) as connection:
            assert (await connection.run("echo in")).stdout == "in\n"
    for name in ("other_ed25519", "other_ecdsa", "other_rsa"):
        try:
            async with connect(keys=[name]):
                raise AssertionError(f"{name} logged in")
        except asyncssh.PermissionDenied:
            pass
    print("3 keys in, 3 refused")


async def sessions():
    async with connect() as connection:
        result = await connection.run("echo err >&2; exit 9")
        assert (result.exit_status, result.stderr) == (9, "err\n")
        result = await connection.run("kill -TERM $$")
        assert result.exit_signal[0] == "TERM", result.exit_signal
        result = await connection.run("echo $GREETING", env={"GREETING": "hello"})
        assert result.stdout == "hello\n"
        process = await connection.create_process("cat; echo after")
        process.stdin.write("one\n")
        assert await process.stdout.readline() == "one\n"
        process.stdin.write_eof()
        assert await process.stdout.read() == "after\n"
        process = await connection.create_process("trap 'echo caught; exit 4' USR1; echo ready; while sleep 0.05; do :; done")
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("USR1")
        assert await process.stdout.read() == "caught\n"
        assert (await process.wait()).exit_status == 4
        results = await asyncio.gather(*(connection.run(f"cat; exit {number}", input=str(number) * 100000) for number in range(20)))
        assert all((r.exit_status, r.stdout) == (n, str(n) * 100000) for n, r in enumerate(results))
    print("statuses, signals, variables, half-close, 20 sessions at once")


async def terminal():
    async with connect() as connection:
        command = "trap 'stty size; exit' WINCH; stty size; echo $TERM; while sleep 0.05; do :; done"
        process = await connection.create_process(command, term_type="vt220", term_size=(99, 33))
        assert await process.stdout.readline() == "33 99\r\n"
        assert await process.stdout.readline() == "vt220\r\n"
        process.change_terminal_size(40, 12)
        assert await process.stdout.readline() == "12 40\r\n"
        process.send_break(100)
        await process.wait()
    print("terminal, its size")


async def bulk(**options):
    data = os.urandom(64 * 1024 * 1024)
    async with connect(**options) as connection:
        process = await connection.create_process("cat", encoding=None)

        async def feed():
            for start in range(0, len(data), 1 << 20):
                process.stdin.write(data[start : start + (1 << 20)])
                await process.stdin.drain()
            process.stdin.write_eof()

        feeding = asyncio.create_task(feed())
        received = hashlib.sha256()
        while piece := await process.stdout.read(1 << 18):
            received.update(piece)
        await feeding
        assert received.digest() == hashlib.sha256(data).digest()
        compression = connection.get_extra_info("send_compression")
    print(f"64 MiB both ways, compression {compression}")


async def refusals():
    async with connect() as connection:
        try:
            await connection.open_connection("localhost", 1)
            raise AssertionError("forwarding was allowed")
        except asyncssh.ChannelOpenError as error:
            assert error.code == asyncssh.OPEN_UNKNOWN_CHANNEL_TYPE
        try:
            await connection.start_sftp_client()
            raise AssertionError("there is no sftp")
        except asyncssh.ChannelOpenError:
            pass
        assert (await connection.run("echo still here")).stdout == "still here\n"
    print("refusals")


async def keepalives():
    # A machine that has much to do may leave the server without the processor for seconds: that is no silence.
    async with connect(keepalive_interval=1, keepalive_count_max=10) as connection:
        assert (await connection.run("sleep 3; echo alive")).stdout == "alive\n"
    print("keepalives")


async def main():
    await algorithms()
    await users()
    await sessions()
    await terminal()
    await bulk(rekey_bytes=5_000_000)
    await bulk(compression_algs=["zlib@openssh.com"])
    await refusals()
    await keepalives()


asyncio.run(main())
