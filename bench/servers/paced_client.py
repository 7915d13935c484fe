"""HTTP requests at a given rate, one after the other, each timed from when it was due.

    python paced_client.py --port 8000 --path /health --rate 1000 --seconds 2

A load that always has a request waiting measures its own queue; this one leaves the server idle
most of the time.  A request that is due while another is answered starts late, and that is part of
its latency.  Prints one line of JSON, with the fields of wrk_report.lua.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--rate", type=int, required=True, help="requests a second, on average")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    request = f"GET {options.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    apart = 1.0 / options.rate
    latencies: list[float] = []
    wrong = 0
    with socket.create_connection(("127.0.0.1", options.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = due = time.perf_counter()
        while due < began + options.seconds:
            while (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            connection.sendall(request)
            answer = connection.recv(65536)  # short answers: they come in one piece
            latencies.append(time.perf_counter() - due)
            wrong += answer[9:12] != b"200"
            due += apart * random.uniform(0.5, 1.5)
    latencies.sort()
    result = {
        "requests": len(latencies),
        "microseconds": (time.perf_counter() - began) * 1e6,
        "p50_us": latencies[len(latencies) // 2] * 1e6,
        "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
        "max_us": latencies[-1] * 1e6,
        "non_2xx": wrong,
        **dict.fromkeys(("connect", "read", "write", "timeout"), 0),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
