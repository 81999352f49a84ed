"""Runs Python programs that nobody vouches for, such as those a model wrote.

    from bessemer.sandbox.run import Limits, Program, run, run_all

    run(Program("assert 1 + 1 == 3"))        Outcome(status="error", detail="AssertionError (line 1)", ...)

A program gets the standard library, a process with threads, an empty folder and nothing else. Everywhere it has no
environment and no site packages, its time, memory, file size and open files are limited, and its process is killed at
the end. Three barriers of Linux do the rest. None needs root:

    seccomp        x86-64 and ARM      an allow-list of system calls (`system_calls.py`): no sockets, no new processes,
                                       no signals to other processes, no shared memory, no changes of mode, owner,
                                       times or attributes of files
    Landlock       Linux 5.13          of the files, only the standard library and system libraries can be read, and
                                       only the own folder written (`confine.py`); also no signals to processes outside
                                       and no abstract sockets from Linux 6.12 on
    namespaces     where users may     processes outside have no number inside, no network interface is up, and all
                   make them           processes that a program started end with it (`namespaces.py`)

seccomp and Landlock together protect network, processes and files; namespaces are a second wall. Most containers have
the first two. macOS has none of them. `protection.unprotected()` measures what a program can reach on this machine,
`bessemer doctor` shows it, and stages that run programs of a model warn about it.

Not protected: the number of files in the program's folder (each is limited, the folder is deleted with the program),
the names and sizes of files elsewhere, and the verdict itself against a program that searches the interpreter's frames
for the secret that goes with it. A defect of the kernel can open every barrier, so code that is hostile on purpose
belongs in a virtual machine.
"""
