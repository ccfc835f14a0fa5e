#!/bin/sh
# Stands in for systemctl where no systemd runs: starts and stops what a unit's ExecStart says, as its User.
set -u
folder=/etc/systemd/system state=/run/units
if [ "$1" = --user ]; then
  folder=$HOME/.config/systemd/user state=/tmp/units
  shift
fi
act=$1
shift
[ "${1:-}" != --now ] || shift
unit=$folder/${1:-}
[ -e "$unit" ] || unit=$unit.service
pid=$(cat "$state/pid" 2>/dev/null)

stop() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null
  rm -f "$state/pid"
}

start() {
  [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null || return 0
  command=$(sed -n 's/^ExecStart=//p' "$unit")
  user=$(sed -n 's/^User=//p' "$unit")
  if [ -n "$user" ]; then setsid su -s /bin/sh "$user" -c "exec $command" >/dev/null 2>&1 </dev/null &
  else setsid sh -c "exec $command" >/dev/null 2>&1 </dev/null &
  fi
  mkdir -p "$state"
  echo $! >"$state/pid"
}

case $act in
  show-environment | daemon-reload | enable) ;;
  start) start ;;
  restart) stop; pid=''; start ;;
  disable) stop; rm -rf "$state" ;;
  reload) [ "${1:-}" = ssh ] && kill -HUP "$(cat /run/sshd.pid)" ;;
  *) exit 1 ;;
esac
