#!/bin/sh
# Gives topicops' own Kafka user the ACLs that it needs, and no others:
#
#   deploy/kafka-acls.sh User:topicops --bootstrap-server kafka:9093 --command-config admin.properties
#
# What follows the principal goes to Kafka's own kafka-acls.sh: the one on the PATH, or $KAFKA_ACLS. To give an ACL twice
# does no harm. README.md says what each is for; `topicops preflight` says which are missing.
set -eu

case "${1:-}" in
  ?*:?*) principal=$1; shift ;;
  *)
    echo "usage: $0 User:NAME [options of kafka-acls.sh, such as --bootstrap-server and --command-config]" >&2
    exit 2
    ;;
esac
kafka_acls=${KAFKA_ACLS:-kafka-acls.sh}

# Users and ACLs; replicas, disks, and the brokers' throttles while replicas move.
"$kafka_acls" "$@" --add --allow-principal "$principal" --cluster \
  --operation Alter --operation Describe --operation AlterConfigs --operation DescribeConfigs

# Topics: any name may be declared, so any name may have to be made.
"$kafka_acls" "$@" --add --allow-principal "$principal" --topic '*' \
  --operation Create --operation Delete --operation Alter --operation AlterConfigs \
  --operation Describe --operation DescribeConfigs

# Groups: a topic that somebody is reading is not deleted.
"$kafka_acls" "$@" --add --allow-principal "$principal" --group '*' --operation Describe
