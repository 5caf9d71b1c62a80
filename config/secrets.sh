#!/bin/sh
# Makes the passwords that docker-compose.yml mounts, each in a file that one container's user alone
# may read. What is there is kept, so it can be run again.
#
#   sudo config/secrets.sh [DIRECTORY]        (default: secrets)
#
# A new password: delete its files, run this again, then `docker compose up --detach --force-recreate`.
set -eu
umask 077
directory=${1:-secrets}
mkdir -p "$directory"
# Containers get files of it, and whoever runs compose must find them; each file is read by one user alone.
chmod 711 "$directory"

# The users of the images: marketprism (Dockerfile), clickhouse, grafana.
marketprism=10001 clickhouse=101 grafana=472

make() { # FILE USER
    [ -s "$directory/$1" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$directory/$1"
    give "$1" "$2"
}

give() { # FILE USER
    chmod 400 "$directory/$1"
    if [ "$(id -u)" = 0 ]; then chown "$2:$2" "$directory/$1"; fi
}

again() { # OF FILE USER: the same password for another container
    rm -f "$directory/$2"
    cat "$directory/$1" >"$directory/$2"
    give "$2" "$3"
}

for user in collector store api reader; do make "nats_$user" $marketprism; done
make clickhouse $marketprism
make clickhouse_reader $marketprism
make api_token $marketprism
make grafana_admin $grafana
again clickhouse clickhouse_server $clickhouse
again clickhouse_reader clickhouse_server_reader $clickhouse

# What config/nats.conf includes. The server is root in its container, with no capability at all.
rm -f "$directory/nats_passwords.conf"
for user in collector store api reader; do
    name=$(echo "$user" | tr '[:lower:]' '[:upper:]')_PASSWORD
    echo "$name: \"$(cat "$directory/nats_$user")\""
done >"$directory/nats_passwords.conf"
give nats_passwords.conf 0

# What config/nats-cluster.conf includes: three servers, known to each other by a password.
make nats_route 0
route=route:$(cat "$directory/nats_route")
rm -f "$directory/nats_routes.conf"
cat >"$directory/nats_routes.conf" <<CONF
cluster {
  name: marketprism
  listen: "0.0.0.0:6222"
  authorization {user: "route", password: "${route#route:}", timeout: 2}
  routes: [
    "nats-route://$route@nats-1:6222"
    "nats-route://$route@nats-2:6222"
    "nats-route://$route@nats-3:6222"
  ]
}
CONF
give nats_routes.conf 0

if [ "$(id -u)" != 0 ]; then
    echo "not root: the files stay yours, and containers whose user is another cannot read them" >&2
fi
