#!/bin/sh
# Stops what runs, when the package goes and is not replaced.
set -e
case "$1" in
upgrade | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl disable --now byway.service byway-egress.service || true
fi
