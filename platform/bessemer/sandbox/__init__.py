"""Runs untrusted Python programs, such as programs that a model wrote.

    from bessemer.sandbox.run import ProgramLimits, Program, run, run_all

    run(Program("assert 1 + 1 == 3"))        ProgramOutcome(status="error", detail="AssertionError (line 1)", ...)

A program gets the standard library, a process with threads, an empty folder and nothing else. On every system it has no
environment variables and no site packages. Its time, memory, file size and open files are limited, and its process is
killed at the end. Linux adds three barriers, none of which needs root:

    seccomp        x86-64 and ARM      an allow-list of system calls (`system_calls.py`): no sockets, no new processes,
                                       no signals to other processes, no shared memory, no changes of mode, owner,
                                       times or attributes of files
    Landlock       Linux 5.13          a program can read only the standard library and system libraries, and write
                                       only in its folder (`confine.py`); from Linux 6.12 on also no signals to
                                       processes outside and no abstract sockets
    namespaces     if users may        processes outside have no process number inside, no network interface is up, and
                   create them         all processes that a program started end with it (`namespaces.py`)

seccomp and Landlock together protect network, processes and files; namespaces are a second layer. Most containers have
the first two. macOS has none of them. `protection.unprotected()` measures whether a program can reach network,
processes or files on this machine. `bessemer doctor` shows the result, and stages that run a model's programs warn
about it.

The sandbox does not protect three things. A program can create any number of files in its folder (each file's size is
limited, and the folder is deleted with the program). It can see the names and sizes of files elsewhere. And it can
forge its verdict if it finds the verdict's secret in the interpreter's frames. A defect of the kernel can break every
barrier, so deliberately hostile code belongs in a virtual machine.
"""
