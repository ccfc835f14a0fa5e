#!/bin/sh
# Makes this machine a host of a broker: enrolls it, waits until an admin approves it, and keeps its tunnel.
#
#   curl -fsS URL/install.sh | BROKERD_TOKEN=bet_... sh
#   curl -fsS URL/install.sh | sh -s -- --dry-run
#   curl -fsS URL/install.sh | sh -s -- --uninstall
#
# `sh -s -- --help` tells the rest. It needs a POSIX sh, curl or wget, an ssh client (OpenSSH's or dropbear's) and an SSH
# server on this machine. The token and the secret that it is answered with stand in files that only this user can read
# (or in the memory of this shell), never in the arguments of a command, where every user of the machine could see them.
set -eu
LC_ALL=C
export LC_ALL

# The broker's address: written by the broker that serves this script. `--broker URL` takes its place.
broker=''

OURS=brokerd-tunnel # the system's user, the folder, the unit
BEGIN='# brokerd: begin'
END='# brokerd: end'
SSHD_CONFIG=/etc/ssh/sshd_config

usage() {
  cat <<'END'
usage: install.sh [options]

Makes this machine a host of its broker. As root it does so for the whole machine (a system service, and a line in sshd's
configuration by which the broker's certificates are trusted); otherwise, or with --user, for your account alone.

  --token TOKEN      the enrollment token. Others see it in the list of processes: better is
                     the environment (BROKERD_TOKEN=...) or
  --token-file FILE  a file with the token in its first line
  --name NAME        what the host is to be called (default: the hostname)
  --login LOGIN      the account that people get by default (default: the one that this runs as)
  --port PORT        where this machine's SSH server listens (default: 22)
  --broker URL       the broker, where it is not the one that served this script
  --user             for this account alone, although root
  --no-wait          do not wait for the approval; the tunnel comes up by itself after it
  --dry-run          change nothing; print what would be done and every file
  --uninstall        take away all that this script has put here
END
}

# Words

say() { printf '%s\n' "$*"; }
step() { say "- $*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Whether $1 is not empty and made of characters of the set $2 only, which is written as inside of [!...].
made_of() {
  case $1 in '' | *[!$2]*) return 1 ;; esac
}

is_port() { made_of "$1" 0-9 && [ "${#1}" -le 5 ] && [ "$1" -ge 1 ] && [ "$1" -le 65535 ]; }

is_name() {
  made_of "$1" 'a-z0-9-' && [ "${#1}" -le 63 ] && [ "$1" != localhost ] || return 1
  case $1 in -* | *-) return 1 ;; esac
}

# Whether $1 is a public key line of type and base64, and nothing that could be more than one line or an option.
is_key() {
  case $1 in ssh-ed25519\ AAAA* | ssh-rsa\ AAAA* | ecdsa-sha2-nistp???\ AAAA*) ;; *) return 1 ;; esac
  made_of "${1#* }" 'A-Za-z0-9+/='
}

# What was asked for

read_arguments() {
  token='' token_file='' name='' login='' port='' scope='' wait=yes dry='' act=install
  # Out of the environment at once: no command that is run from here needs it.
  if [ -n "${BROKERD_TOKEN:-}" ]; then token=$BROKERD_TOKEN; fi
  unset BROKERD_TOKEN
  while [ $# -gt 0 ]; do
    case $1 in
      --token | --token-file | --name | --login | --port | --broker)
        [ $# -ge 2 ] || die "$1 needs a value"
        case $1 in
          --token) token=$2 ;;
          --token-file) token_file=$2 ;;
          --name) name=$2 ;;
          --login) login=$2 ;;
          --port) port=$2 ;;
          --broker) broker=$2 ;;
        esac
        shift
        ;;
      --user) scope=user ;;
      --no-wait) wait='' ;;
      --dry-run) dry=yes ;;
      --uninstall) act=uninstall ;;
      -h | --help) act=help ;;
      *) die "unknown option $1; --help lists them" ;;
    esac
    shift
  done
}

check_arguments() {
  broker=${broker%/}
  case $broker in
    '') die "which broker? name it with --broker https://..." ;;
    http://* | https://*) ;;
    *) die "--broker: $broker is not a URL such as https://broker.example" ;;
  esac
  made_of "${broker#*://}" '][A-Za-z0-9.:_-' || die "--broker: give the address alone, such as https://broker.example"
  if [ -n "$token_file" ]; then
    [ -r "$token_file" ] || die "--token-file: cannot read $token_file"
    IFS= read -r token <"$token_file" || [ -n "$token" ] || die "--token-file: $token_file is empty"
  fi
  [ -z "$token" ] || made_of "$token" 'A-Za-z0-9_-' || die "that is no enrollment token: it has other characters"
  if [ -z "$name" ]; then name=$(kept name); fi
  if [ -z "$name" ]; then
    name=$(hostname 2>/dev/null || uname -n)
    name=$(printf %s "${name%%.*}" | tr 'A-Z_' 'a-z-' | tr -cd 'a-z0-9-' | cut -c 1-63 | sed 's/^-*//; s/-*$//')
    is_name "$name" || die "the hostname is not usable as a name; give one with --name"
  fi
  is_name "$name" || die "--name: $name is not a host name: use 1 to 63 of a-z, 0-9 and -, not localhost"
  if [ -z "$port" ]; then port=$(kept port); fi
  port=${port:-22}
  is_port "$port" || die "--port: $port is not a port"
  [ -z "$login" ] || made_of "$login" 'A-Za-z0-9_.$-' || die "--login: $login is not the name of an account"
}

# Where things stand

choose_places() {
  uid=$(id -u)
  if [ "$uid" = 0 ] && [ -z "$scope" ]; then scope=system; else scope=user; fi
  runner=''
  if [ "$scope" = system ]; then
    folder=/etc/$OURS
    unit=/etc/systemd/system/$OURS.service
    control=systemctl
    if [ -d /run/systemd/system ] && have systemctl; then runner=systemd; fi
  else
    [ -d "${HOME:-}" ] || die "HOME is not a folder"
    config=${XDG_CONFIG_HOME:-$HOME/.config}
    folder=$config/$OURS
    unit=$config/systemd/user/$OURS.service
    control='systemctl --user'
    if have systemctl && systemctl --user show-environment >/dev/null 2>&1; then runner=systemd; fi
  fi
  # It is written into a unit and a script, each with quoting of its own.
  made_of "$folder" 'A-Za-z0-9/._@+-' || die "cannot use the folder $folder: it has spaces or signs in its name"
  drop_in=/etc/ssh/sshd_config.d/00-brokerd.conf
  keys_file=${HOME:-}/.ssh/authorized_keys
}

# A fact of the last run: `kept NAME`.
kept() { [ ! -r "$folder/enrollment" ] || sed -n "s/^$1=//p" "$folder/enrollment"; }

# Something that is here because of us, for the day when it is taken away: `note WORD`.
note() { grep -qx "$1" "$folder/made" 2>/dev/null || say "$1" >>"$folder/made"; }
noted() { grep -qx "$1" "$folder/made" 2>/dev/null; }

is_local() {
  host=${broker#*://}
  case $host in \[::1\]*) return 0 ;; esac
  host=${host%%:*}
  case $host in localhost) ;; 127.*) made_of "$host" 0-9. ;; *) return 1 ;; esac
}

# What the machine has

find_tools() {
  if have curl; then
    fetcher=curl
  elif have wget; then
    case $(wget --version 2>/dev/null | sed -n 1p) in
      GNU\ Wget\ 1.*) fetcher=wget ;;
      *) fetcher=small-wget ;;
    esac
  else
    die "neither curl nor wget is here; install one of them"
  fi
  case $fetcher:$broker in
    small-wget:https:*)
      # BusyBox' wget takes any certificate: who sits in between would learn the token and could pose as the broker.
      if (wget --help 2>&1 || :) | grep -qi busybox; then
        die "this wget does not check the broker's certificate; install curl or GNU wget"
      fi
      ;;
    *:http:*)
      is_local || warn "$broker is not encrypted: who sits in between can read the token and pose as the broker"
      ;;
  esac
  client=$(kept client)
  if [ -z "$client" ]; then client=$(best_client); fi
  case $client in
    openssh) program=$(command -v ssh) || die "ssh is gone; install the OpenSSH client again, or --uninstall first" ;;
    dropbear)
      program=$(command -v dbclient || command -v ssh) || die "dbclient is gone; install it again, or --uninstall first"
      have dropbearkey || die "dropbearkey is missing; install dropbear whole"
      ;;
    *) die "no ssh client is here; install OpenSSH's (openssh-client) or dropbear's (dropbear-bin)" ;;
  esac
}

best_client() {
  if have ssh && have ssh-keygen && ssh -V 2>&1 | grep -q OpenSSH; then
    say openssh
  elif have dbclient || { have ssh && ssh -V 2>&1 | grep -qi dropbear; }; then
    say dropbear
  fi
}

# The keys of this machine's SSH server into $tmp/host_keys, and where it answers into `target`.
find_host_keys() {
  target='' server=''
  : >"$tmp/shown"
  if have ssh-keyscan; then
    for address in 127.0.0.1 ::1; do
      ssh-keyscan -T 5 -p "$port" "$address" >"$tmp/shown" 2>"$tmp/banner" || :
      if [ -s "$tmp/shown" ]; then target=$address && break; fi
    done
    server=$(cat "$tmp/shown" "$tmp/banner" | sed -n 's/^# .* SSH-2\.0-//p' | sed -n 1p)
  elif [ "$client" = dropbear ] && have setsid; then
    # Dropbear has no ssh-keyscan, but writes down whom it met, where it is told to. It meets this machine and nobody
    # else, and shows no key; without a terminal of its own it asks its standard input.
    mkdir -p "$tmp/met/.ssh"
    say y | HOME=$tmp/met DROPBEAR_PASSWORD='' setsid "$program" -T -p "$port" nobody@127.0.0.1 true >/dev/null 2>&1 || :
    if [ -s "$tmp/met/.ssh/known_hosts" ]; then
      cp "$tmp/met/.ssh/known_hosts" "$tmp/shown"
      target=127.0.0.1
    fi
  else
    target=127.0.0.1 # it cannot be asked
  fi
  if [ -z "$target" ]; then
    have sshd || have dropbear ||
      die "there is no SSH server on this machine; install one (openssh-server), or use brokerd-agent"
    die "no SSH server answers on port $port of this machine; start it, or name its port with --port"
  fi
  key_files >"$tmp/files"
  awk '!/^#/ && NF >= 3 { print $2, $3 }' "$tmp/shown" | sort -u >"$tmp/asked"
  awk '{ print $1, $2 }' "$tmp/files" | sort -u >"$tmp/filed"
  if [ ! -s "$tmp/asked" ]; then
    cp "$tmp/filed" "$tmp/found"
  elif ! grep -Fx -f "$tmp/asked" "$tmp/filed" >"$tmp/found"; then
    # Not the server whose files stand in /etc/ssh.
    cp "$tmp/asked" "$tmp/found"
  fi
  while IFS= read -r line; do
    if is_key "$line"; then say "$line"; fi
  done <"$tmp/found" | sed -n 1,10p >"$tmp/host_keys"
  [ -s "$tmp/host_keys" ] || die "cannot learn the public host keys of this machine's SSH server; run this as root"
}

key_files() {
  cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null || :
  have dropbearkey || return 0
  for file in /etc/dropbear/dropbear_*_host_key; do
    if [ -r "$file" ]; then dropbearkey -y -f "$file" | grep -E '^(ssh|ecdsa)-' || :; fi
  done
}

# Who may be let in by certificate: only OpenSSH's server knows them.
find_trust() {
  trust=none
  case $server in dropbear*) return 0 ;; esac
  if [ "$scope" = user ]; then
    trust=authorized_keys
    return 0
  fi
  have sshd || return 0
  sshd=$(command -v sshd)
  "$sshd" -T >"$tmp/sshd" 2>"$tmp/sshd.err" ||
    die "sshd does not take its configuration as it is now; mend that first: $(sed -n '$p' "$tmp/sshd.err")"
  other=$(sed -n 's/^trustedusercakeys //p' "$tmp/sshd")
  if [ "$other" != none ] && [ "$other" != "$folder/ca.pub" ]; then
    trust=other # it trusts somebody already, and knows one such file only
  elif noted sshd_config; then
    trust=sshd_config
  elif [ -d "${drop_in%/*}" ] && grep -Eiq '^[[:space:]]*Include[[:space:]].*/sshd_config\.d/' "$SSHD_CONFIG"; then
    trust=drop_in
  else
    trust=sshd_config
  fi
  if grep -qx 'permitrootlogin no' "$tmp/sshd" && [ "${login:-root}" = root ]; then
    warn "this sshd never lets root in (PermitRootLogin no): name another account with --login"
  fi
}

# Saying what will be done

tell_plan() {
  if [ "$scope" = system ]; then whom="the whole machine"; else whom="the account $(id -un) alone"; fi
  say "This makes the machine the host \"$name\" of $broker, for $whom:"
  if [ -f "$folder/key" ]; then step "use the key that is in $folder"; else step "make a key for the tunnel in $folder"; fi
  step "ask $broker to enroll it$(if [ -n "$token" ]; then say ' with the token'; fi), with these keys of its SSH server (port $port):"
  sed 's/ .*/ key/; s/^/    /' "$tmp/host_keys"
  if [ -n "$wait" ]; then step "wait until an admin approves it"; else step "not wait for the approval (--no-wait)"; fi
  step "know the broker's gateway by the keys in the answer, and no other"
  case $trust in
    drop_in) step "let the broker's certificates in: $drop_in, then reload sshd" ;;
    sshd_config) step "let the broker's certificates in: a marked block on top of $SSHD_CONFIG, then reload sshd" ;;
    other) step "let the broker's certificates in: a marked block in $other, which sshd trusts already" ;;
    authorized_keys) step "let the broker's certificates in: a marked cert-authority line in $keys_file" ;;
    none) step "not let certificates in, as this SSH server knows none: people are asked for the account's password" ;;
  esac
  if [ "$scope" = system ]; then
    case $(account_maker) in
      here) ;;
      none) step "run the tunnel as root: this system cannot make or become another user" ;;
      *) step "make the system user $OURS, which runs the tunnel" ;;
    esac
  fi
  if [ "$runner" = systemd ]; then
    step "keep the tunnel with the service $unit"
  else
    step "keep the tunnel with the script $folder/tunnel, started in the background (there is no systemd to ask)"
  fi
  say
}

# Asking the broker

# `ask POST|GET PATH [FILE]`: the answer into $tmp/answer, its status into `status`; 000 where there was none.
# FILE is the body of a POST; for a GET it holds the secret to show. Redirects are not followed: a token must not travel
# to where somebody else points.
ask() {
  rm -f "$tmp/answer" "$tmp/headers"
  : >"$tmp/answer"
  : >"$tmp/headers"
  trouble=''
  case $fetcher in
    curl) ask_curl "$1" "$broker/api/v1/$2" "$3" ;;
    *) ask_wget "$1" "$broker/api/v1/$2" "$3" ;;
  esac
  retry_after=$(sed -n 's/^ *[Rr]etry-[Aa]fter: *\([0-9][0-9]*\).*/\1/p' "$tmp/headers" | sed -n 1p)
  [ "${#retry_after}" -le 4 ] || retry_after=600
  flat_json <"$tmp/answer" >"$tmp/flat"
}

ask_curl() {
  {
    say 'silent'
    say 'show-error'
    say 'max-time = 60'
    say "output = \"$tmp/answer\""
    say "dump-header = \"$tmp/headers\""
    say 'write-out = "%{http_code}"'
    say 'max-redirs = 0'
    if is_local; then say 'noproxy = "*"'; fi
    if [ "$1" = POST ]; then
      say 'header = "Content-Type: application/json"'
      say "data-binary = \"@$3\""
    else
      say "header = \"Authorization: Bearer $(cat "$3")\""
    fi
  } >"$tmp/curl"
  if status=$(curl -K "$tmp/curl" "$2" 2>"$tmp/trouble"); then return 0; else code=$?; fi
  status=000
  trouble=$(sed -n '$p' "$tmp/trouble" | tr -cd '\040-\176')
  case $code in
    35 | 51 | 53 | 54 | 58 | 59 | 60 | 66 | 77 | 80 | 82 | 83 | 90 | 91)
      die "no trustworthy TLS with $broker: $trouble"
      ;;
  esac
}

ask_wget() {
  set -- "$1" "$2" "$3" -S -o "$tmp/headers" -O "$tmp/answer"
  if [ "$fetcher" = wget ]; then
    # What the person has set holds as well; the secret stands in a file, not among the arguments.
    { cat "${WGETRC:-${HOME:-}/.wgetrc}" 2>/dev/null || :; } >"$tmp/wgetrc"
    [ "$1" = POST ] || say "header = Authorization: Bearer $(cat "$3")" >>"$tmp/wgetrc"
    set -- "$@" --max-redirect=0 --tries=1 --timeout=60 --content-on-error
    if is_local; then set -- "$@" --no-proxy; fi
    if wget --help | grep -q -- --no-hsts; then set -- "$@" --no-hsts; fi # it would leave a file behind
  fi
  [ "$1" = GET ] || set -- "$@" --header 'Content-Type: application/json' --post-file "$3"
  url=$2
  shift 3
  code=0
  WGETRC=$tmp/wgetrc wget "$@" "$url" >/dev/null 2>&1 || code=$?
  status=$(tr -d '\r' <"$tmp/headers" | sed -n 's/^.*HTTP\/[0-9.]* \([0-9][0-9][0-9]\)\( .*\)*$/\1/p' | sed -n '$p')
  [ -z "$status" ] || return 0
  status=000
  trouble=$(grep -Ei 'error|failed|unable|refused|timed out|bad address' "$tmp/headers" | sed -n 1p | tr -cd '\040-\176')
  case $code:$trouble in 5:* | *[Cc]ertificate*) die "no trustworthy TLS with $broker: $trouble" ;; esac
}

# JSON as lines `gateway.host_keys.0=value`. Control characters and what is not ASCII become "?" or a blank, so that a
# value is one line and harmless on a screen; names of members have no signs that could pass for a path.
flat_json() {
  awk '
    { text = text $0 "\n" }
    function emit(value,    path, i) {
      for (i = 1; i <= depth; i++) path = path (i > 1 ? "." : "") member[i]
      print path "=" value
    }
    function code(digits,    i, n, at) {
      n = 0
      for (i = 1; i <= 4; i++) {
        at = index("0123456789abcdef", tolower(substr(digits, i, 1)))
        if (!at) return 0
        n = n * 16 + at - 1
      }
      return n
    }
    # The string that begins at `at`, which is left behind its closing quote.
    function string(    out, c) {
      out = ""
      for (at++; at <= size; at++) {
        c = substr(text, at, 1)
        if (c == "\"") { at++; return out }
        if (c == "\\") {
          c = substr(text, ++at, 1)
          if (c == "u") {
            c = code(substr(text, at + 1, 4))
            c = c >= 32 && c < 127 ? sprintf("%c", c) : "?"
            at += 4
          } else if (index("bfnrt", c)) c = " "
        }
        out = out c
      }
      return out
    }
    END {
      size = length(text); at = 1; depth = 0
      while (at <= size) {
        c = substr(text, at, 1)
        if (c == "{" || c == "[") {
          depth++; kind[depth] = c; member[depth] = c == "[" ? 0 : ""; naming[depth] = c == "{"; at++
        } else if (c == "}" || c == "]") { depth--; at++ }
        else if (c == ",") {
          if (kind[depth] == "[") member[depth]++
          naming[depth] = kind[depth] == "{"; at++
        } else if (c == "\"") {
          value = string()
          if (naming[depth]) { gsub(/[^a-z0-9_]/, "?", value); member[depth] = value; naming[depth] = 0 }
          else emit(value)
        } else if (c ~ /[a-z0-9.+-]/) {
          match(substr(text, at), /^[A-Za-z0-9.+-]+/)
          emit(substr(text, at, RLENGTH)); at += RLENGTH
        } else at++
      }
    }' | tr -c '\012\040-\176' '?'
}

field() { sed -n "s/^$1=//p" "$tmp/flat" | sed -n 1p; }

write_request() {
  keys=$(awk '{ printf "%s\"%s\"", gap, $0; gap = ", " }' "$tmp/host_keys")
  {
    printf '{"name": "%s", "public_key": "%s", "host_keys": [%s]' "$name" "$public_key" "$keys"
    printf ', "info": {"hostname": "%s", "os": "%s", "arch": "%s"}' \
      "$(plain "$(hostname 2>/dev/null || uname -n)")" "$(plain "$(system_name)")" "$(plain "$(uname -m)")"
    printf ', "login": "%s"' "${login:-$(id -un)}"
    [ -z "$token" ] || printf ', "token": "%s"' "$token"
    printf '}\n'
  } >"$tmp/request"
}

plain() { printf %s "$1" | tr -cd 'A-Za-z0-9 ._+:/()-' | cut -c 1-100; }

system_name() {
  pretty=$(sed -n 's/^PRETTY_NAME="\{0,1\}\([^"]*\).*/\1/p' /etc/os-release 2>/dev/null || :)
  if [ -n "$pretty" ]; then say "$pretty"; else uname -s; fi
}

enroll() {
  write_request
  while :; do
    ask POST enrollments "$tmp/request"
    [ "$status" = 429 ] || break
    say "the broker is busy; trying again in ${retry_after:-10} s"
    sleep "${retry_after:-10}"
  done
  detail=$(field detail)
  case $status in
    200 | 201) ;;
    000) die "$broker does not answer: ${trouble:-no connection}" ;;
    403) die "refused: ${detail:-the token is not valid, or this broker enrolls machines with a token only}" ;;
    409) die "refused: ${detail:-the name $name is taken by another machine}; another name can be given with --name" ;;
    422) die "refused: ${detail:-something in the request does not fit}" ;;
    30?)
      elsewhere=$(sed -n 's/^ *[Ll]ocation: *//p' "$tmp/headers" | sed -n 1p | tr -cd '\040-\176')
      die "$broker points elsewhere, to $elsewhere; if that is right, use it as --broker"
      ;;
    *) die "$broker answered with status $status: ${detail:-is it a broker?}" ;;
  esac
  read_answer
}

# What the answer says, each value of the one form that it may have: they end in scripts, units and sshd's files.
read_answer() {
  id=$(field id) name=$(field name) state=$(field state) fingerprint=$(field fingerprint) code=$(field code)
  poll_token=$(field poll_token) tunnel_port=$(field tunnel_port) ca=$(field ca_public_key)
  gateway=$(field gateway.host) gateway_port=$(field gateway.port)
  if ! is_sound; then die "the answer of $broker makes no sense; is it a broker?"; fi
  : >"$tmp/gateway_keys"
  sed -n 's/^gateway\.host_keys\.[0-9]*=//p' "$tmp/flat" | while IFS= read -r line; do
    if is_key "$line"; then say "$line" >>"$tmp/gateway_keys"; fi
  done
  [ -s "$tmp/gateway_keys" ] || die "the answer of $broker names no key of its gateway"
  { say "$ca" && sed -n 's/^ca_public_keys\.[0-9]*=//p' "$tmp/flat"; } | awk '!seen[$0]++' | while IFS= read -r line; do
    if is_key "$line"; then say "$line"; fi
  done | sed -n 1,4p >"$tmp/authorities"
}

is_sound() {
  made_of "$id" 'a-f0-9-' && is_name "$name" && made_of "$state" a-z && made_of "$code" 'A-Z0-9-' &&
    made_of "$fingerprint" 'A-Za-z0-9:+/=' && made_of "$poll_token" 'A-Za-z0-9_-' && is_port "$tunnel_port" &&
    made_of "${gateway#-}" 'A-Za-z0-9.:_-' && [ "${gateway#-}" = "$gateway" ] && is_port "$gateway_port" && is_key "$ca"
}

await_approval() {
  say "$poll_token" >"$tmp/poll"
  told='' pause=2
  while [ "$state" = pending ]; do
    if [ -z "$told" ]; then
      say
      say "Waiting for approval: an admin compares these and approves at $broker/approvals/"
      say "  fingerprint   $fingerprint"
      say "  pairing code  $code"
      [ -n "$wait" ] || return 0
      say "(Ctrl-C: nothing is lost; run this again later)"
      told=yes
    fi
    sleep "$pause"
    [ "$pause" -ge 10 ] || pause=$((pause + 1))
    # A small wget could show the secret in its arguments only. The same request again is answered just as well.
    if [ "$fetcher" = small-wget ]; then ask POST enrollments "$tmp/request"; else ask GET "enrollments/$id" "$tmp/poll"; fi
    case $status in
      200) state=$(field state) ;;
      404) die "the broker knows this enrollment no more; --uninstall, and enroll anew" ;;
      401 | 403) die "the broker does not take this enrollment's secret any more; run this again" ;;
      *) [ -z "$retry_after" ] || sleep "$retry_after" ;;
    esac
  done
  case $state in
    approved) say "Approved: $name is a host of $broker." ;;
    *) die "the enrollment of $name was $state; to ask again with a new key, --uninstall first" ;;
  esac
}

# Changing the machine

# `put MODE FILE`: standard input becomes FILE, if it is not that already. A dry run prints it. Not for the end of a
# pipe, where it would run in a shell of its own: `changed` would be lost.
put() {
  if [ -n "$dry" ]; then
    say "--- $2 (mode $1)"
    cat
    say
    return 0
  fi
  cat >"$tmp/put"
  if cmp -s "$tmp/put" "$2"; then return 0; fi
  changed=yes
  make_folder "${2%/*}"
  if ! { cp "$tmp/put" "$2.new" && chmod "$1" "$2.new" && mv -f "$2.new" "$2"; }; then
    die "cannot write $2; look at the rights of its folder"
  fi
}

# With the folders above it, each of which is remembered.
make_folder() {
  if [ -d "$1" ]; then return 0; fi
  make_folder "${1%/*}"
  mkdir "$1" || die "cannot make the folder $1; look at the rights of ${1%/*}"
  say "folder=$1" >>"$tmp/folders"
}

# `replace FILE`: $tmp/whole becomes the content of somebody else's FILE, whose owner and rights stay.
replace() {
  if [ -L "$1" ]; then
    cat "$tmp/whole" >"$1"
  else
    cp -p "$1" "$1.new" && cat "$tmp/whole" >"$1.new" && mv -f "$1.new" "$1"
  fi || die "cannot write $1; look at its rights"
}

# `put_block FILE`: standard input as a marked block on top of FILE, whose rights and owner stay as they are.
put_block() {
  { say "$BEGIN" && cat && say "$END"; } >"$tmp/block"
  if [ -n "$dry" ]; then
    say "--- $1 (on top)"
    cat "$tmp/block"
    say
    return 0
  fi
  without_block "$1" >"$tmp/rest"
  cat "$tmp/block" "$tmp/rest" >"$tmp/whole"
  cmp -s "$tmp/whole" "$1" || replace "$1"
}

without_block() { awk -v b="$BEGIN" -v e="$END" '$0 == b { skip = 1 } !skip { print } $0 == e { skip = 0 }' "$1"; }

make_key() {
  if [ -f "$folder/key" ]; then
    key=$folder/key
    public_key=$(cat "$key.pub")
  else
    # It moves to its place when the broker has taken it: a refusal leaves nothing behind.
    key=$tmp/key
    if [ "$client" = openssh ]; then
      ssh-keygen -q -t ed25519 -N '' -C '' -f "$key"
    else
      dropbearkey -t ed25519 -f "$key" >/dev/null 2>&1 || dropbearkey -t ecdsa -f "$key" >/dev/null 2>&1 ||
        die "dropbearkey makes neither ed25519 nor ecdsa keys; install a newer dropbear"
      dropbearkey -y -f "$key" | grep -E '^(ssh|ecdsa)-' >"$key.pub"
    fi
    public_key=$(awk '{ print $1, $2 }' "$key.pub")
    say "$public_key" >"$key.pub"
  fi
  is_key "$public_key" || die "$key.pub holds no public key; --uninstall, and begin anew"
}

account_maker() {
  if id "$OURS" >/dev/null 2>&1; then say here
  elif [ "$runner" != systemd ] && ! have su; then say none
  elif have useradd; then say useradd
  elif have adduser; then say adduser
  else say none
  fi
}

make_account() {
  owner=root
  [ "$scope" = system ] || return 0
  case $(account_maker) in
    here) ;;
    none) return 0 ;;
    useradd) useradd --system --no-create-home --home-dir /nonexistent --shell /bin/false "$OURS" && note account ;;
    adduser) adduser -S -D -H -h /nonexistent -s /bin/false "$OURS" && note account ;;
  esac || die "cannot make the system user $OURS"
  owner=$OURS
}

keep_enrollment() {
  make_folder "$folder"
  if [ "$scope" = system ]; then chmod 755 "$folder"; fi
  if [ "$key" != "$folder/key" ] && ! { mv "$key.pub" "$folder/key.pub" && mv "$key" "$folder/key"; }; then
    die "cannot write $folder/key"
  fi
  put 600 "$folder/enrollment" <<END
broker=$broker
id=$id
name=$name
port=$port
client=$client
END
  remember_folders
}

known_gateway() {
  while IFS= read -r line; do
    case $client:$gateway_port in
      dropbear:* | openssh:22) say "$gateway $line" ;;
      *) say "[$gateway]:$gateway_port $line" ;;
    esac
  done <"$tmp/gateway_keys"
}

# The command that holds the tunnel. No value in it needs quoting: each was checked for its characters.
tunnel_command() {
  case $target in *:*) target="[$target]" ;; esac
  if [ "$client" = openssh ]; then
    say "$program -N -T -F /dev/null -p $gateway_port -i $folder/key -o IdentitiesOnly=yes -o BatchMode=yes" \
      "-o StrictHostKeyChecking=yes -o UserKnownHostsFile=$known_hosts -o GlobalKnownHostsFile=/dev/null -o CheckHostIP=no" \
      "-o UpdateHostKeys=yes" \
      "-o ExitOnForwardFailure=yes -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o ConnectTimeout=20" \
      "-R $tunnel_port:$target:$port $name@$gateway"
  else
    # The home is where it looks for known_hosts: an unknown gateway is asked about, and nobody answers yes.
    say "/usr/bin/env HOME=$folder $program -N -T -K 10 -p $gateway_port -i $folder/key -o ExitOnForwardFailure=yes" \
      "-R $tunnel_port:$target:$port $name@$gateway"
  fi
}

# Five to twenty seconds, by the port: machines that lost the same broker do not come back in the same moment.
own_pause() { if is_port "$tunnel_port"; then say $((5 + tunnel_port % 16)); else say SECONDS; fi; }

unit_text() {
  cat <<END
# Written by install.sh of $broker
[Unit]
Description=Tunnel to the broker $broker
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=$(tunnel_command)
StandardInput=null
Restart=always
RestartSec=$(own_pause)
END
  if [ "$scope" = system ]; then
    cat <<END
User=$owner
CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
ReadWritePaths=-$folder/gateway

[Install]
WantedBy=multi-user.target
END
  else
    cat <<END

[Install]
WantedBy=default.target
END
  fi
}

loop_text() {
  command=$(tunnel_command)
  if [ "$owner" = "$OURS" ]; then command="su -s /bin/sh $OURS -c 'exec $command'"; fi
  cat <<END
#!/bin/sh
# Written by install.sh of $broker: holds the tunnel for ever. Run it from whatever starts things at boot.
folder=$folder
pause=$(own_pause)
END
  cat <<'END'
# Whose number stands in the file may be somebody else by now.
last=$(cat "$folder/pid" 2>/dev/null)
if [ -n "$last" ] && [ "$last" != $$ ] && kill -0 "$last" 2>/dev/null; then
  if [ ! -d /proc/self ] || tr '\0' ' ' <"/proc/$last/cmdline" 2>/dev/null | grep -qF "$folder/tunnel"; then
    echo "the tunnel is held already, by process $last" >&2
    exit 0
  fi
fi
echo $$ >"$folder/pid"
child=
trap 'trap - TERM INT HUP; [ -z "$child" ] || kill "$child" 2>/dev/null; rm -f "$folder/pid"; exit 0' TERM INT HUP
wait_s=$pause
while :; do
  began=$(date +%s)
END
  cat <<END
  $command </dev/null &
END
  cat <<'END'
  child=$!
  wait "$child"
  if [ $(($(date +%s) - began)) -ge 60 ]; then wait_s=$pause; fi
  if [ "$(wc -c <"$folder/log" 2>/dev/null || echo 0)" -gt 65536 ]; then : >"$folder/log"; fi
  # Between once and twice the pause, by chance; then longer, up to 40 s: it is back within a minute of its broker.
  chance=$(od -An -N2 -tu2 /dev/urandom 2>/dev/null | tr -cd 0-9)
  sleep $((wait_s + ${chance:-$$} % wait_s)) &
  child=$!
  wait "$child"
  wait_s=$((wait_s * 2 > 20 ? 20 : wait_s * 2))
done
END
}

write_files() {
  changed=''
  # OpenSSH writes the gateway's next key down when the present one has vouched for it (UpdateHostKeys), so its file
  # stands in a folder that the user of the tunnel can write, and nothing else does.
  if [ "$client" = openssh ]; then known_hosts=$folder/gateway/known_hosts; else known_hosts=$folder/.ssh/known_hosts; fi
  known_gateway >"$tmp/new"
  put 644 "$known_hosts" <"$tmp/new"
  if [ "$scope" = system ] && [ -z "$dry" ]; then
    chown "$owner" "$folder/key"
    if [ "$client" = openssh ]; then chmod 755 "$folder/gateway" && chown "$owner" "$folder/gateway" "$known_hosts"; fi
    # Dropbear's folder must be one that the user of the tunnel can enter; what is in it stays root's.
    [ "$client" = openssh ] || chmod 755 "$folder/.ssh"
  fi
  if [ "$runner" = systemd ]; then
    unit_text >"$tmp/new"
    put 644 "$unit" <"$tmp/new"
  else
    loop_text >"$tmp/new"
    put 755 "$folder/tunnel" <"$tmp/new"
  fi
}

trust_broker() {
  case $trust in
    none) return 0 ;;
    authorized_keys) trust_line ;;
    drop_in)
      put_authority
      [ -n "$dry" ] || note drop_in
      put 644 "$drop_in" <<END
# Written by install.sh of $broker
TrustedUserCAKeys $folder/ca.pub
END
      ;;
    sshd_config)
      put_authority
      [ -n "$dry" ] || note sshd_config
      cp "$SSHD_CONFIG" "$tmp/before"
      say "TrustedUserCAKeys $folder/ca.pub" | put_block "$SSHD_CONFIG"
      ;;
    other)
      [ -n "$dry" ] || note "other=$other"
      authorities | put_block "$other"
      return 0 # sshd reads that file at each login
      ;;
  esac
  if [ "$scope" = system ] && [ -z "$dry" ]; then check_sshd; fi
}

# The lines of the broker's authority; of two while it replaces the one by the other.
authorities() { sed "s/\$/ $OURS/" "$tmp/authorities"; }

put_authority() {
  authorities >"$tmp/new"
  put 644 "$folder/ca.pub" <"$tmp/new"
}

# sshd must take its configuration, and trust what we wrote; else it gets back the one that it had.
check_sshd() {
  if "$sshd" -t 2>"$tmp/sshd.err" && "$sshd" -T 2>/dev/null | grep -qx "trustedusercakeys $folder/ca.pub"; then
    reload_sshd
    return 0
  fi
  if [ "$trust" = drop_in ]; then
    rm -f "$drop_in"
  else
    cp "$tmp/before" "$tmp/whole" && replace "$SSHD_CONFIG"
  fi
  die "sshd does not take the new configuration, so the old one is back: $(sed -n '$p' "$tmp/sshd.err")"
}

reload_sshd() {
  if [ -d /run/systemd/system ] && have systemctl; then
    systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null ||
      systemctl is-active --quiet ssh.socket sshd.socket || # one that is started for each connection reads it anyway
      warn "reload sshd, so that it reads its configuration"
    return 0
  fi
  file=$("$sshd" -T 2>/dev/null | sed -n 's/^pidfile //p')
  pid=$(cat "$file" 2>/dev/null || :)
  if made_of "$pid" 0-9 && grep -qx sshd "/proc/$pid/comm" 2>/dev/null && kill -HUP "$pid"; then return 0; fi
  warn "restart sshd, so that it reads its configuration"
}

# Lines of our own in authorized_keys, told from others by their comment.
trust_line() {
  authorities | sed 's/^/cert-authority /' >"$tmp/lines"
  if [ -n "$dry" ]; then
    say "--- $keys_file (one more line)"
    cat "$tmp/lines"
    say
    return 0
  fi
  if our_lines 2>/dev/null | cmp -s - "$tmp/lines"; then return 0; fi
  make_folder "${keys_file%/*}"
  if [ -e "$keys_file" ]; then
    without_our_lines >"$tmp/whole"
    cmp -s "$tmp/whole" "$keys_file" || replace "$keys_file"
  else
    note authorized_keys
  fi
  (umask 077 && cat "$tmp/lines" >>"$keys_file") || die "cannot write $keys_file"
}

our_lines() { awk -v ours="$OURS" '$1 == "cert-authority" && $NF == ours' "$keys_file"; }
without_our_lines() { awk -v ours="$OURS" '!($1 == "cert-authority" && $NF == ours)' "$keys_file"; }

start_tunnel() {
  if [ "$runner" = systemd ]; then
    start_unit
  elif [ -n "$changed" ] || ! is_running; then
    stop_loop
    if have setsid; then setsid "$folder/tunnel" >>"$folder/log" 2>&1 </dev/null &
    else nohup "$folder/tunnel" >>"$folder/log" 2>&1 </dev/null &
    fi
  fi
  say
  say "The tunnel of $name is kept from now on$(if [ "$state" = pending ]; then say ', and comes up when the host is approved'; fi)."
  if [ "$runner" = systemd ]; then
    say "How it does: $control status $OURS"
  else
    say "How it does: tail $folder/log"
    say "This machine has no systemd to start it at boot. Let your init system do it, or cron (crontab -e), with the line"
    say "  @reboot $folder/tunnel >>$folder/log 2>&1"
  fi
  warn_of_walls
}

start_unit() {
  $control daemon-reload
  $control enable "$OURS.service" >/dev/null 2>&1 || warn "$control cannot enable $OURS.service"
  if [ -n "$changed" ]; then $control restart "$OURS.service"; else $control start "$OURS.service"; fi ||
    die "the service does not start; see: $control status $OURS"
  [ "$scope" = user ] && [ ! -e "/var/lib/systemd/linger/$(id -un)" ] || return 0
  if loginctl enable-linger >/dev/null 2>&1; then
    note linger
  else
    warn "it runs only while you are logged in; an admin of the machine can change that: loginctl enable-linger $(id -un)"
  fi
}

warn_of_walls() {
  have ssh-keyscan || return 0
  [ -z "$(ssh-keyscan -T 5 -p "$gateway_port" "$gateway" 2>/dev/null)" ] || return 0
  warn "$gateway port $gateway_port does not answer from here (a firewall?); the tunnel goes on trying"
}

# The loop's own process, and not one that has got its number since.
is_running() {
  pid=$(cat "$folder/pid" 2>/dev/null) && made_of "$pid" 0-9 && kill -0 "$pid" 2>/dev/null || return 1
  [ ! -d /proc/self ] || tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$folder/tunnel"
}

stop_loop() {
  is_running || return 0
  kill "$pid" 2>/dev/null || :
  for _ in 1 2 3 4 5; do
    is_running || return 0
    sleep 1
  done
  kill -9 "$pid" 2>/dev/null || :
}

# Taking it away

gone() {
  if [ -n "$dry" ]; then step "remove $1"; else rm -rf "$1" && step "removed $1"; fi
}

uninstall() {
  if [ ! -d "$folder" ]; then
    say "Nothing to take away: there is no $folder."
    return 0
  fi
  say "Taking away the tunnel of $(kept name) to $(kept broker):"
  if [ -e "$unit" ]; then
    if [ -z "$dry" ] && [ "$runner" = systemd ]; then $control disable --now "$OURS.service" >/dev/null 2>&1 || :; fi
    gone "$unit"
    if [ -z "$dry" ] && [ "$runner" = systemd ]; then $control daemon-reload; fi
    if [ -z "$dry" ] && noted linger; then loginctl disable-linger >/dev/null 2>&1 || :; fi
  fi
  if [ -z "$dry" ]; then stop_loop; fi
  if [ "$scope" = system ]; then distrust_system; else distrust_line; fi
  if noted account; then
    if [ -z "$dry" ]; then remove_account || warn "cannot remove the user $OURS"; fi
    step "the system user $OURS"
  fi
  sed -n 's/^folder=//p' "$folder/made" 2>/dev/null | sort -r >"$tmp/folders"
  if [ -e "$folder/tunnel" ]; then had_loop=yes; else had_loop=''; fi
  gone "$folder"
  if [ -z "$dry" ]; then
    while IFS= read -r made; do rmdir "$made" 2>/dev/null || :; done <"$tmp/folders" # those that are empty
  fi
  if [ -n "$had_loop" ]; then say "If you let something start $folder/tunnel at boot, take that line away too."; fi
  say "The broker still lists the host; an admin can revoke it there."
}

remove_account() {
  for _ in 1 2 3 4 5; do
    if have userdel; then userdel "$OURS" 2>/dev/null && return 0; else deluser "$OURS" && return 0; fi
    sleep 1 # its last process is on its way out
  done
  return 1
}

distrust_system() {
  if noted sshd_config; then remove_block "$SSHD_CONFIG"; fi
  if noted drop_in; then gone "$drop_in"; fi
  other=$(sed -n 's/^other=//p' "$folder/made" 2>/dev/null)
  if [ -n "$other" ]; then remove_block "$other"; fi
  if [ -z "$dry" ] && { noted sshd_config || noted drop_in; } && sshd=$(command -v sshd); then
    if "$sshd" -t; then reload_sshd; else warn "sshd does not take its configuration (see above); it was not reloaded"; fi
  fi
}

remove_block() {
  [ -f "$1" ] || return 0
  if [ -z "$dry" ]; then without_block "$1" >"$tmp/whole" && replace "$1"; fi
  step "the block in $1"
}

distrust_line() {
  [ -f "$keys_file" ] || return 0
  if [ -n "$dry" ]; then
    step "the line in $keys_file"
    return 0
  fi
  without_our_lines >"$tmp/whole"
  if noted authorized_keys && [ ! -s "$tmp/whole" ]; then rm -f "$keys_file"; else replace "$keys_file"; fi
  step "the line in $keys_file"
}

# The whole

prepare() {
  tmp=$(mktemp -d "${TMPDIR:-/tmp}/brokerd.XXXXXX") || die "cannot make a folder for files in ${TMPDIR:-/tmp}"
  made_of "$tmp" 'A-Za-z0-9/._@+-' || die "TMPDIR has spaces or signs in its name"
  : >"$tmp/folders"
  trap 'rm -rf "$tmp"' EXIT
  trap 'exit 130' HUP INT TERM
}

install() {
  check_arguments
  case $(kept broker) in
    '' | "$broker") ;;
    *) die "this machine is a host of $(kept broker) already; --uninstall first" ;;
  esac
  find_tools
  find_host_keys
  find_trust
  tell_plan
  if [ -n "$dry" ]; then
    show_files
    say "Nothing was changed."
    return 0
  fi
  make_key
  enroll
  keep_enrollment
  await_approval
  make_account
  write_files
  trust_broker
  remember_folders
  start_tunnel
}

remember_folders() {
  while IFS= read -r made; do note "$made"; done <"$tmp/folders"
  : >"$tmp/folders"
}

# A dry run knows no answer of the broker: what comes from there stands in capitals.
show_files() {
  say "The files, with what only the broker can tell in capitals:"
  say
  gateway=GATEWAY gateway_port=GATEWAY-PORT tunnel_port=TUNNEL-PORT ca='ssh-ed25519 CA-KEY' owner=root
  if [ "$scope" = system ] && [ "$(account_maker)" != none ]; then owner=$OURS; fi
  say 'ssh-ed25519 GATEWAY-KEY' >"$tmp/gateway_keys"
  say "$ca" >"$tmp/authorities"
  write_files
  trust_broker
  say "--- $folder/key, $folder/key.pub, $folder/enrollment: the key (mode 600), and whose it is"
  say
}

main() {
  read_arguments "$@"
  if [ "$act" = help ]; then
    usage
    return 0
  fi
  umask 077
  PATH=$PATH:/usr/sbin:/sbin # where sshd and useradd are, also for users who do not look there
  choose_places
  prepare
  if [ "$act" = uninstall ]; then
    uninstall
  else
    install
  fi
}

# At the very end, so that a download that breaks off does nothing. The script itself may be standard input.
main "$@" </dev/null
