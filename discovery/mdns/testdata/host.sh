# host.sh NAME DBUS_CONF: a host with a name, a /run, a message bus and an avahi of its own, in the namespaces it is started in.
# It prints "ready" once avahi serves.
set -eu
hostname "$1"
conf=$(readlink -f "$2")
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/dbus /run/avahi-daemon
cat > /run/avahi.conf <<CONF
[server]
host-name=$1
use-ipv4=yes
use-ipv6=yes
allow-interfaces=eth0
enable-dbus=yes
[publish]
publish-workstation=no
[rlimits]
CONF
dbus-daemon --config-file="$conf" --nofork --nopidfile &
until [ -S /run/dbus/system_bus_socket ]; do sleep .05; done
avahi-daemon -f /run/avahi.conf --no-drop-root --no-chroot --no-rlimits > /run/avahi.log 2>&1 &
until grep -q 'Server startup complete' /run/avahi.log; do
	kill -0 $! || { cat /run/avahi.log; exit 1; }
	sleep .05
done
echo ready
wait
