#!/bin/sh
# The pipeline that people use today, in its cheapest reading: the temporary copy is
# compressed where the local backup is to lie, one upload goes over the wire, and
# `latest` is copied inside the store.
#
#   guide.sh DATABASE BUCKET FOLDER backup|vacuum
#
# backup: `.backup`, as the guide says.  vacuum: `VACUUM INTO`, which also comes to an
# end while another process commits.  The guide's `quick_check` is left out here and
# measured by itself.
set -eu
database=$1 bucket=$2 folder=$3 copy=$4

name=$(basename "$database" .db)_$(date -u +%Y%m%d_%H%M%S).db
object=s3://$bucket/sqlite-backup/$(date -u +%Y/%m)/$name.gz

case $copy in
backup) sqlite3 "$database" ".backup '$folder/$name'" ;;
vacuum) sqlite3 "$database" "VACUUM INTO '$folder/$name'" ;;
esac
gzip -6 "$folder/$name"
aws s3 cp --only-show-errors "$folder/$name.gz" "$object"
aws s3 cp --only-show-errors "$object" "s3://$bucket/sqlite-backup/latest.db.gz"
echo "[sqlite-backup] Backup completed successfully"
