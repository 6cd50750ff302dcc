#!/usr/bin/env python3
"""Looks for bytes in the memory of a running process, as a curious operator might.

    look-inside.py PID TEXT

Prints how much was searched and how often TEXT was found; exit 0 if never, 1 if found.
"""
import sys

# A program built with a sanitizer reserves terabytes for the sanitizer's own notes, which hold no bytes of ours.
RESERVATION = 64 << 30


def main():
    pid, text = sys.argv[1], sys.argv[2].encode()
    searched = found = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            if not mode.startswith("r") or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            if end - start > RESERVATION:
                continue
            tail = b""
            for at in range(start, end, 1 << 20):
                try:
                    memory.seek(at)
                    piece = memory.read(min(1 << 20, end - at))
                except (OSError, ValueError):
                    break
                found += (tail + piece).count(text)
                tail = piece[-(len(text) - 1):] if len(text) > 1 else b""
                searched += len(piece)
    print(f"{searched / 1048576:.1f} MiB searched, found {found} times")
    sys.exit(found > 0)


if len(sys.argv) != 3:
    sys.exit(__doc__)
main()
