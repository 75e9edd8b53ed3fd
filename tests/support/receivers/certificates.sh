#!/usr/bin/env bash
# Makes what tests of TLS need, in a directory: ca.pem; server.pem and server.key for receiver.test
# and 127.0.0.1; client.pem and client.key (encrypted, password "opensesame"); other-ca.pem, which
# has signed none of them.
set -euo pipefail

cd "$1"

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -subj "/CN=$2" -keyout "$1.key" -out "$1.pem" 2>/dev/null
}

signed() {
    openssl req -new -key "$1.key" -subj "/CN=$1" ${3:+-passin "$3"} -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
        -extfile <(printf '%s\n' "$2") -out "$1.pem" 2>/dev/null
}

authority ca "ringtail test authority"
authority other-ca "another authority"
openssl ecparam -name prime256v1 -genkey -noout -out server.key
signed server "subjectAltName=DNS:receiver.test,IP:127.0.0.1"
openssl ecparam -name prime256v1 -genkey -noout | openssl ec -aes256 -passout pass:opensesame \
    -out client.key 2>/dev/null
signed client "extendedKeyUsage=clientAuth" pass:opensesame
