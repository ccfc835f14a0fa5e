"""The project's own benchmark: brokerd beside stock `ssh -J` through a stock reverse tunnel, in one interleaved run.

    make bench                     python -m bench [--quick] [--only echo,open] [--agents N] [--json FILE]

Both sides end in the same shell of the same sshd, and are read by the same loop of the same process. The blocks of the
two alternate, so that what else the machine does meets both; a figure is the median of its blocks. Nothing fails: the
table says what was measured and what is aimed at.
"""
