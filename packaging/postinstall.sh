#!/bin/sh
# The group that may read /etc/byway, and the units. Nothing is started: there is no
# configuration yet.
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers byway.conf || true
elif ! getent group byway-conf >/dev/null 2>&1; then
	groupadd --system byway-conf 2>/dev/null || addgroup -S byway-conf 2>/dev/null || true
fi
if getent group byway-conf >/dev/null 2>&1; then
	chgrp byway-conf /etc/byway
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
