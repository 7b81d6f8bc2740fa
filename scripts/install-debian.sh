#!/bin/sh
# Installs the Debian programs that the tests drive. Without root and sudo it says what is missing; the tests that need
# it are skipped then, with that reason, and counted. On CI (`CI` is set) a missing program is an error.
set -u
give_up() {
  echo "$1" >&2
  [ -n "${CI:-}" ] && exit 1
  exit 0
}
wanted="chromium:chromium rclone:rclone litmus:litmus cadaver:cadaver wrk:wrk node:nodejs npm:npm
swift-proxy-server:swift-proxy swift-account-server:swift-account swift-container-server:swift-container swift-object-server:swift-object
memcached:memcached redis-server:redis-server mount.davfs:davfs2 unzip:unzip 7z:p7zip-full khard:khard dovecot:dovecot-imapd hg:mercurial git:git
dbus-run-session:dbus gio:libglib2.0-bin /usr/libexec/gvfsd-dav:gvfs-backends /usr/libexec/evolution-source-registry:evolution-data-server
/usr/lib/*/girepository-1.0/ECal-2.0.typelib:gir1.2-ecal-2.0 /usr/lib/*/girepository-1.0/EBook-1.2.typelib:gir1.2-ebook-1.2
/usr/lib/python3/dist-packages/gi/__init__.py:python3-gi"
missing=""
for pair in $wanted; do
  # shellcheck disable=SC2086
  command -v "${pair%%:*}" >/dev/null 2>&1 || ls ${pair%%:*} >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  give_up "not a Debian system; missing:$missing"
fi
if [ "$(id -u)" = 0 ]; then run=""; elif sudo -n true 2>/dev/null; then run="sudo"; else
  give_up "no root and no sudo; missing:$missing (install them with: apt-get install$missing)"
fi
echo "installing:$missing"
$run apt-get update -q >/dev/null 2>&1
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -q --no-install-recommends $missing fonts-dejavu-core >/dev/null || give_up "could not install:$missing"
