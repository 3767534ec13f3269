#!/bin/sh
# Serve the board on the ingress port until we are told to stop.
set -eu

log() { echo "$(date '+%H:%M:%S') $*"; }

title=$(option title)
log "board \"$title\" with $(option notices | wc -l) notices, $(option colour) notes"

# What the page wants to know about us. The token is ours alone: elsewhere it opens nothing.
if supervisor /addons/self/info >/tmp/self.json; then
    log "the supervisor knows us as $(json-lines </tmp/self.json | sed -n 's/^data\.slug\t//p')"
else
    log "the supervisor does not answer; the board works all the same"
fi

httpd -f -p 8099 -h /www &
httpd=$!
trap 'log "stopping"; kill $httpd; exit 0' TERM INT
log "serving on port 8099"
wait $httpd
