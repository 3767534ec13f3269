#!/bin/sh
# Log a line at an interval and count the beats in /data, where updates and restarts leave them alone.
set -eu

log() { echo "$(date '+%H:%M:%S') $*"; }

interval=$(option interval)
option message >/tmp/message
beats=$(cat /data/beats 2>/dev/null || echo 0)

# A line on our standard input (POST /addons/self/stdin) is said from the next beat on.
listen() {
    while read -r line; do
        printf '%s\n' "$line" >/tmp/message.new
        mv /tmp/message.new /tmp/message
        log "heard a new message"
    done
}
exec 3<&0 # a job in the background would get an empty standard input
listen <&3 &

trap 'log "stopping after beat $beats"; exit 0' TERM INT
log "heartbeat $HEARTBEAT_VERSION, every $interval s, going on after beat $beats"

while true; do
    beats=$((beats + 1))
    echo "$beats" >/data/beats.new
    mv /data/beats.new /data/beats
    log "beat $beats: $(cat /tmp/message)"
    sleep "$interval" &
    wait $!
done
