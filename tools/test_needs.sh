#!/bin/sh
# What the tests need beside Python: a real sshd, the stock ssh client and others, Chromium, and programs to be shown in
# a terminal. Installs Debian's packages where it may.
set -eu
missing=""
command -v ssh >/dev/null || missing="$missing openssh-client"
[ -x /usr/sbin/sshd ] || command -v sshd >/dev/null || missing="$missing openssh-server"
command -v chromium >/dev/null || missing="$missing chromium"
for program in asciinema nginx caddy vim htop less mc vttest autossh git rsync busybox shellcheck curl wget openssl; do # packages of the same names
  command -v $program >/dev/null || missing="$missing $program"
done
command -v dbclient >/dev/null || missing="$missing dropbear-bin"
command -v systemd-analyze >/dev/null || missing="$missing systemd" # it judges units; nothing of it has to run
command -v plink >/dev/null || missing="$missing putty-tools"
command -v ansible-playbook >/dev/null || missing="$missing ansible-core"
/usr/bin/python3 -c "import paramiko" 2>/dev/null || missing="$missing python3-paramiko"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing Debian packages:$missing"
  log=$(mktemp)
  if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1
  then rm -f "$log"; exit 0
  fi
  tail -n 5 "$log" >&2
fi
echo "missing:$missing; the tests that need them are skipped (with CI=true: fail). On Debian: apt-get install$missing" >&2
