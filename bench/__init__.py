"""The project's own benchmark: brokerd beside stock `ssh -J` through a stock reverse tunnel, in one interleaved run.

    make bench                     python -m bench [--quick] [--only echo,open] [--agents N] [--json FILE]
    make soak                      python -m bench.soak [--minutes 5]

All sides end in the same shell of the same sshd, and are read by the same loop of the same process; `people` times the
stock clients scp and ssh themselves, end to end and brokered. The blocks of all sides alternate, so that what else the
machine does meets all of them; a figure is the median of its blocks. Where `ttyd` is installed it joins as a third
side, on the stock server, with ssh through the stock tunnel. Nothing fails: the table says what was measured and what
is aimed at.
"""
