#!/usr/bin/env bash
# Puts what the packages have below bin/package/root: what "make install" puts on a host,
# the documents, and what Debian asks for besides. The same source makes the same bytes.
# Run by "make deb" and "make rpm", with VERSION, MAINTAINER and DATE (RFC 3339) in the environment.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

root=$PWD/bin/package/root
doc=$root/usr/share/doc/holdfast
rm -rf bin/package && mkdir -p "$doc/examples"

make --no-print-directory install DESTDIR="$root" PREFIX=/usr UNITDIR=/usr/lib/systemd/system

# What belongs to /etc is named in nfpm.yaml, with what becomes of it in an upgrade.
rm -r "$root/etc"
install -D -m 755 packaging/leave.sh "$root/usr/lib/holdfast/leave"
install -D -m 644 packaging/sysusers/holdfast.conf "$root/usr/lib/sysusers.d/holdfast.conf"

cp -r docs "$doc/docs"
find "$doc/docs" -name '*.html' -delete
cp README.md SECURITY.md "$doc/"
cp examples/holdfast.yaml examples/endpoint-list.txt "$doc/examples/"
cp -r deploy/prometheus deploy/grafana "$doc/examples/"
find "$doc" -type f -exec chmod 644 {} +

sed "s|@YEAR@|${DATE%%-*}|" packaging/debian/copyright > "$doc/copyright"
packaging/notices.sh > "$doc/third-party-notices"
cp CHANGELOG.md "$doc/changelog"
cat > "$doc/changelog.Debian" <<END
holdfast ($VERSION-1) unstable; urgency=medium

  * What has changed in holdfast is in changelog.gz.

 -- $MAINTAINER  $(LC_ALL=C date -u -R -d "$DATE")
END
gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$doc/third-party-notices" "$root"/usr/share/man/man8/*.8
find "$root" -exec touch -h -d "$DATE" {} +
