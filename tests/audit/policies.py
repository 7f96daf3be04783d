"""Lints the stacks' IAM policies with parliament: ``policies.py FOLDER``, which holds them as JSON files."""

import sys
from pathlib import Path

import parliament

# What parliament finds and is right as it is: issue and action.
EXCEPTIONS = {
    # Its resource is a container instance, and "*" where the call names none; a condition names the cluster.
    ("RESOURCE_STAR", "ecs:ListTasks"),
    # It asks for a network load balancer's rule too, where an application load balancer's is enough.
    ("RESOURCE_MISMATCH", "elasticloadbalancing:ModifyRule"),
}


def findings(policy: Path) -> set[tuple[str, str]]:
    """The issues that parliament finds, each with what it is about."""
    return {
        (finding.issue, detail["action"] if isinstance(detail, dict) else str(detail))
        for finding in parliament.analyze_policy_string(policy.read_text()).findings
        for detail in (finding.detail if isinstance(finding.detail, list) else [finding.detail])
    }


def main(folder: Path) -> int:
    """Lint; returns the exit status."""
    policies = sorted(folder.rglob("*.json"))
    if not policies:
        print(
            f"no policies in {folder}: tests/terraform/test_permissions.py leaves them there", file=sys.stderr
        )
        return 1
    found = {policy: findings(policy) for policy in policies}
    wrong = [(policy, finding) for policy in policies for finding in sorted(found[policy] - EXCEPTIONS)]
    for policy, (issue, about) in wrong:
        print(f"{policy.relative_to(folder)}: {issue}: {about}", file=sys.stderr)
    needless = EXCEPTIONS - set().union(*found.values())
    for issue, about in sorted(needless):
        print(f"no longer found, so no longer an exception: {issue}: {about}", file=sys.stderr)
    print(f"parliament: {len(policies)} policies, {len(wrong)} findings, {len(EXCEPTIONS)} exceptions")
    return 1 if wrong or needless else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
