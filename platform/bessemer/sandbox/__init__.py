"""Runs Python programs that nobody vouches for, such as those a model wrote.

    from bessemer.sandbox.run import Limits, Program, run, run_all

    run(Program("assert 1 + 1 == 3"))        Outcome(status="error", detail="AssertionError (line 1)", ...)

A program gets the standard library, a process, an empty folder and nothing else. What holds, and where:

    everywhere            no environment, no site packages; limits on time, memory, file size and open files; the
                          process and its group are killed at the end; what it prints is cut
    Linux, x86-64 and     no network, no further processes, no signals or limits for other processes, no shared memory
    ARM (`confine.py`)    left behind, no privileges; of the files, only the standard library and system libraries can
                          be read, and only the own folder written

None of it needs root. `run.unprotected()` says what this machine cannot enforce.

Not protected: the number of files in the program's folder (each is limited, the folder goes with the program), the
names and sizes of files elsewhere, and the verdict itself against a program that searches the interpreter's frames for
the secret that goes with it. Code that is hostile on purpose belongs in a virtual machine.
"""
