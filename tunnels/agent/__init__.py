"""The program for the distant machine: enrolls it, holds its tunnel, and serves a login shell or forwards to its sshd.

Knows nothing of Django or of the rest of the broker: standard library and AsyncSSH only, so that it ships alone.
"""

VERSION = "0.1.0"
