"""Run a command and write what it used, as JSON: CPU seconds and the peak of its resident memory in bytes.

    python -I -S bench/process_use.py FILE PROGRAM ARGUMENTS…

The kernel counts the memory of whoever starts a program into the program's peak; this starter is small (about 9 MB).
"""

import os
import sys

if __name__ == "__main__":
    child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
    _, status, used = os.wait4(child, 0)
    with open(sys.argv[1], "w") as target:
        target.write(f'{{"seconds": {used.ru_utime + used.ru_stime}, "memory": {used.ru_maxrss * 1024}}}\n')
    sys.exit(os.waitstatus_to_exitcode(status))
