#!/usr/bin/env python3
"""Has Docker's compose read docker/compose*.yml, and ringtail the configurations beside them.

compose.py RINGTAIL COMPOSE
"""

import sys

sys.dont_write_bytecode = True

import json
import os
import subprocess

from engine_client import ROOT, Skip, claim, run_tests

DOCKER = os.path.join(ROOT, "docker")
FILES = {"compose.yml": "compose/ringtail.yaml", "compose-kafka.yml": "compose/ringtail-kafka.yaml"}


def config(compose, name, **environment):
    if not os.access(compose, os.X_OK):
        raise Skip("no docker compose (scripts/install test)")
    return subprocess.run(
        [compose, "-f", os.path.join(DOCKER, name), "config", "--format", "json"],
        env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
    )


def accepted(compose, name):
    result = config(compose, name, DOCKER_GID="4711")
    claim(result.returncode == 0, f"{name}: {result.stderr}")
    return json.loads(result.stdout)


def test_is_read(ringtail, compose):
    for name in FILES:
        for service in accepted(compose, name)["services"].values():
            for volume in service.get("volumes", ()):
                if volume["type"] == "bind" and volume["source"] != "/var/run/docker.sock":
                    claim(os.path.exists(volume["source"]), f"{name} mounts {volume['source']}, which is not there")


def test_is_confined(ringtail, compose):
    for name in FILES:
        service = accepted(compose, name)["services"]["ringtail"]
        claim(service["read_only"] is True, f"{name}: root is not read-only")
        claim(service["cap_drop"] == ["ALL"], f"{name}: capabilities {service['cap_drop']}")
        claim("seccomp:seccomp.json" in service["security_opt"], f"{name}: {service['security_opt']}")
        claim("no-new-privileges:true" in service["security_opt"], f"{name}: {service['security_opt']}")
        claim(service["group_add"] == ["4711"], f"{name}: groups {service['group_add']}")
        claim(all(port["host_ip"] == "127.0.0.1" for port in service["ports"]), f"{name}: {service['ports']}")


def test_asks_for_the_group(ringtail, compose):
    for name in FILES:
        result = config(compose, name, DOCKER_GID="")
        claim(result.returncode != 0 and "stat -c %g" in result.stderr, f"{name}: {result.stderr}")


def test_brokers(ringtail, compose):
    services = accepted(compose, "compose-kafka.yml")["services"]
    brokers = [service["environment"] for name, service in services.items() if name.startswith("kafka-")]
    claim(len({broker["KAFKA_NODE_ID"] for broker in brokers}) == 3, "three brokers with numbers of their own")
    claim(len({broker["KAFKA_ADVERTISED_LISTENERS"] for broker in brokers}) == 3, "three addresses")
    claim(len({broker["CLUSTER_ID"] for broker in brokers}) == 1, "one cluster")
    claim(all(broker["KAFKA_PROCESS_ROLES"] == "broker,controller" for broker in brokers), "KRaft")


def test_configurations(ringtail, compose):
    options = subprocess.run([ringtail, "options"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for name in FILES.values():
        if "## Sinks" not in options:
            raise Skip("this ringtail has no sinks to configure")
        result = subprocess.run(
            [ringtail, "check", "--config", os.path.join(DOCKER, name)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        claim(result.returncode == 0, f"{name}: {result.stdout}")


def main():
    tests = [
        ("compose reads both files, and what they mount is there", test_is_read),
        ("ringtail's service is confined, and its port is this host's alone", test_is_confined),
        ("without the socket's group compose says how to find it", test_asks_for_the_group),
        ("Kafka is a cluster of three", test_brokers),
        ("ringtail accepts the configurations", test_configurations),
    ]
    return run_tests(tests, *sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
