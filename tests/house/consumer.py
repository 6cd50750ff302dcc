#!/usr/bin/env python3
"""A stranger's program finds libweft: the build is installed into an empty prefix, and three lines of C are
built against it through pkg-config and through find_package(weft) (libweft.so and libweft.a), and run. Then the prefix is moved, and
both must still hold.

    consumer.py BUILD VERSION [compiler flags...]
    consumer.py --self-test
"""

import os
import shutil
import subprocess
import sys
import tempfile

SOURCE = """#include <stdio.h>
#include <weft/weft.h>
int main(void) { return puts(weft_err_sentence(WEFT_OK)) < 0; }
"""
CMAKE = """cmake_minimum_required(VERSION 3.25)
project(consumer C)
find_package(weft {version} REQUIRED)
add_executable(consumer consumer.c)
target_link_libraries(consumer weft::weft)
add_executable(consumer-of-archive consumer.c)
target_link_libraries(consumer-of-archive weft::static)
"""


def run(*command, **settings):
    done = subprocess.run(command, capture_output=True, text=True, **settings)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def find(prefix, name):
    for folder, _, names in os.walk(prefix):
        if name in names:
            return folder
    raise SystemExit(f"the install has no {name}")


def by_pkg_config(work, prefix, version, flags):
    env = dict(os.environ, PKG_CONFIG_PATH=find(prefix, "weft.pc"))
    found = run("pkg-config", "--modversion", "weft", env=env).strip()
    if found != version:
        raise SystemExit(f"weft.pc says version {found}, not {version}")
    words = run("pkg-config", "--cflags", "--libs", "weft", env=env).split()
    program = os.path.join(work, "by-pkg-config")
    compiler = os.environ.get("CC", "cc")
    run(compiler, *flags, os.path.join(work, "consumer.c"), "-o", program, *words)
    return program


def by_cmake(work, prefix, version, flags):
    with open(os.path.join(work, "CMakeLists.txt"), "w", encoding="utf-8") as file:
        file.write(CMAKE.format(version=version))
    build = os.path.join(work, "build")
    shutil.rmtree(build, ignore_errors=True)
    run("cmake", "-S", work, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_FLAGS={' '.join(flags)}")
    run("cmake", "--build", build)
    return os.path.join(build, "consumer")


def consume(prefix, version, flags):
    with tempfile.TemporaryDirectory() as work:
        with open(os.path.join(work, "consumer.c"), "w", encoding="utf-8") as file:
            file.write(SOURCE)
        env = dict(os.environ, LD_LIBRARY_PATH=find(prefix, "libweft.so"))
        for way in (by_pkg_config, by_cmake):
            program = way(work, prefix, version, flags)
            said = run(program, env=env).strip()
            needed = run("readelf", "-d", program)
            if "libweft.so.0]" not in needed:
                raise SystemExit(f"{way.__name__}: the program does not need libweft.so.0")
            print(f"{way.__name__}: {said!r}")
        archive = os.path.join(work, "build", "consumer-of-archive")
        if "libweft" in run("readelf", "-d", archive):
            raise SystemExit("the program of the archive needs libweft.so")
        print(f"weft::static: {run(archive).strip()!r}")


def check(build, version, flags):
    with tempfile.TemporaryDirectory() as room:
        prefix = os.path.join(room, "prefix")
        run("cmake", "--install", build, "--prefix", prefix)
        consume(prefix, version, flags)
        moved = os.path.join(room, "moved")
        os.rename(prefix, moved)
        consume(moved, version, flags)


def self_test():
    """An install without its header, and one with a library of another name, must be refused."""
    for missing in ("weft.h", "libweft.so"):
        with tempfile.TemporaryDirectory() as prefix:
            os.makedirs(f"{prefix}/include/weft")
            os.makedirs(f"{prefix}/lib/pkgconfig")
            with open(f"{prefix}/lib/pkgconfig/weft.pc", "w", encoding="utf-8") as file:
                file.write(f"Name: weft\nDescription: x\nVersion: 1\nLibs: -L{prefix}/lib -lweft\n")
                file.write(f"Cflags: -I{prefix}/include\n")
            if missing == "libweft.so":
                with open(f"{prefix}/include/weft/weft.h", "w", encoding="utf-8") as file:
                    file.write("enum { WEFT_OK };\nconst char *weft_err_sentence(int);\n")
            else:
                with open(f"{prefix}/lib/libweft.so", "w", encoding="utf-8"):
                    pass
            try:
                consume(prefix, "1", [])
            except SystemExit as refusal:
                if missing not in str(refusal):
                    raise
                continue
            raise SystemExit(f"an install without {missing} passed")
    print("2 planted faults, 0 failures")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    elif len(sys.argv) >= 3:
        check(sys.argv[1], sys.argv[2], [f for f in sys.argv[3:] if f])
    else:
        sys.exit("usage: consumer.py BUILD VERSION [flags...] | --self-test")
