"""Network storage and local disks that are mounted for add-ons and backups. So far there is nothing to mount with."""
