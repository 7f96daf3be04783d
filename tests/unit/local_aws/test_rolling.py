"""A service rolls between two versions under a constant load, through the load balancer, and no request
fails.
"""

import threading
import urllib.request
from collections import Counter

import pytest

# Takes a second before it listens, as one that loads a model does.
SERVER = """
import http.server, os, time
time.sleep(1)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(0.02)
        body = os.environ["VERSION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((os.environ["NERFORGE_HOST"], 8080), Handler).serve_forever()
"""
CRASH = "import sys; print('no model'); sys.exit(1)"
SERVICE = {"cluster": "rolling", "services": ["rolling"]}


class Load:
    """Asks all the time, and counts what it is answered."""

    def __init__(self, url, connections):
        self.answers = Counter()
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for __ in range(connections)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *__):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self):
        while not self._over.is_set():
            try:
                answer = urllib.request.urlopen(self._url, timeout=10).read().decode()
            except OSError as error:
                answer = f"failed: {error}"
            self.answers[answer] += 1
            self._over.wait(0.02)


@pytest.fixture(scope="module")
def definitions(local_aws):
    """The task definitions of two versions and of one that crashes."""
    ecs = local_aws.client("ecs")
    ecs.create_cluster(clusterName="rolling")
    python = "/usr/bin/env", "python3", "-c"
    images = {
        "one": local_aws.images.stage("rolling", "one", *python, SERVER, VERSION="one"),
        "two": local_aws.images.stage("rolling", "two", *python, SERVER, VERSION="two"),
        "crash": local_aws.images.stage("rolling", "crash", *python, CRASH),
    }
    made = {}
    for name, image in images.items():
        container = {"name": "web", "image": image, "memory": 100, "portMappings": [{"containerPort": 8080}]}
        answer = ecs.register_task_definition(
            family="rolling", networkMode="bridge", containerDefinitions=[container]
        )
        made[name] = answer["taskDefinition"]["taskDefinitionArn"]
    return made


@pytest.fixture(scope="module")
def service(local_aws, definitions):
    """The service, behind a load balancer. Returns the url to ask it by."""
    balancers = local_aws.client("elbv2")
    balancer = balancers.create_load_balancer(Name="rolling", Subnets=["subnet-1", "subnet-2"])[
        "LoadBalancers"
    ][0]
    group = balancers.create_target_group(
        Name="rolling",
        Port=8080,
        Protocol="HTTP",
        TargetType="ip",
        VpcId="vpc-1",
        HealthCheckPath="/ready",
        HealthCheckIntervalSeconds=5,
        UnhealthyThresholdCount=3,
    )["TargetGroups"][0]["TargetGroupArn"]
    balancers.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]
    )
    balancers.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Port=80,
        Protocol="HTTP",
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    local_aws.client("ecs").create_service(
        cluster="rolling",
        serviceName="rolling",
        taskDefinition=definitions["one"],
        desiredCount=1,
        loadBalancers=[{"targetGroupArn": group, "containerName": "web", "containerPort": 8080}],
        deploymentConfiguration={
            "maximumPercent": 200,
            "minimumHealthyPercent": 100,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
    )
    return f"{local_aws.url}/_alb/rolling/"


def test_it_rolls_between_versions_and_back_from_a_crash_with_no_request_failed(
    local_aws, definitions, service, wait_until
):
    ecs = local_aws.client("ecs")

    def described():
        return ecs.describe_services(**SERVICE)["services"][0]

    def steady(definition):
        now = described()
        deployments = [(found["taskDefinition"], found["rolloutState"]) for found in now["deployments"]]
        return deployments == [(definition, "COMPLETED")] and now["runningCount"] == 1

    assert described()["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    wait_until(lambda: steady(definitions["one"]))

    with Load(service, connections=4) as load:
        for version in ("two", "one"):
            ecs.update_service(cluster="rolling", service="rolling", taskDefinition=definitions[version])
            wait_until(lambda version=version: steady(definitions[version]))
            before = load.answers[version]
            wait_until(lambda version=version, before=before: load.answers[version] > before + 20)

        ecs.update_service(cluster="rolling", service="rolling", taskDefinition=definitions["crash"])
        assert described()["deployments"][0]["taskDefinition"] == definitions["crash"]
        wait_until(lambda: steady(definitions["one"]), 60)
        crashed = len(
            ecs.list_tasks(cluster="rolling", desiredStatus="STOPPED", family="rolling")["taskArns"]
        )

    messages = [event["message"] for event in described()["events"]]
    assert any("deployment circuit breaker was triggered" in message for message in messages)
    # Three of the crashing version, and one of each roll.
    assert crashed == 5
    assert set(load.answers) == {"one", "two"}
    assert sum(load.answers.values()) > 100


def test_a_task_that_is_stopped_is_replaced(local_aws, service, wait_until):
    ecs = local_aws.client("ecs")

    def running():
        listed = ecs.list_tasks(cluster="rolling", serviceName="rolling")["taskArns"]
        tasks = ecs.describe_tasks(cluster="rolling", tasks=listed)["tasks"] if listed else []
        return [task["taskArn"] for task in tasks if task["lastStatus"] == "RUNNING"]

    (before,) = wait_until(running)
    ecs.stop_task(cluster="rolling", task=before)
    (after,) = wait_until(lambda: [arn for arn in running() if arn != before])
    assert after != before
    assert urllib.request.urlopen(service, timeout=10).status == 200
