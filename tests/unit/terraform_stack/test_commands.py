"""The command, the environment and the need for ``terraform init``, as terraform_stack derives them."""

import pytest
import yaml
from ansible_collections.nerforge.aws.plugins.action.terraform_stack import OPTIONS
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.modules.terraform_stack import DOCUMENTATION
from ansible_collections.nerforge.aws.plugins.plugin_utils import terraform


def test_amazon_awss_parameters_become_the_environment():
    env = terraform.environment(
        {"PATH": "/bin"},
        {
            "access_key": "a",
            "secret_key": "b",
            "session_token": None,
            "region": "eu-central-1",
            "endpoint_url": "http://127.0.0.1:4566",
            "aws_ca_bundle": "/ca.pem",
            "validate_certs": True,
        },
        "/data",
        None,
    )
    assert env == {
        "PATH": "/bin",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_CA_BUNDLE": "/ca.pem",
        "TF_DATA_DIR": "/data",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
    }


@pytest.mark.parametrize("given", [{"access_key": "a", "secret_key": "b"}, {"profile": "work"}])
def test_credentials_of_the_task_never_mix_with_the_shells(given):
    shell = {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_SESSION_TOKEN": "z",
        "AWS_PROFILE": "p",
    }
    env = terraform.environment(shell, given, "/data", None)
    assert not {"x", "y", "z", "p"} & set(env.values())


def test_without_credentials_the_shells_are_used():
    assert terraform.environment({"AWS_PROFILE": "work"}, {}, "/data", None)["AWS_PROFILE"] == "work"


def test_the_shells_terraform_settings_stay_out():
    shell = {
        "TF_CLI_ARGS": "-no-color",
        "TF_CLI_ARGS_plan": "-refresh=false",
        "TF_VAR_prefix": "other",
        "TF_WORKSPACE": "other",
        "TF_DATA_DIR": "/other",
        "TF_CLI_CONFIG_FILE": "/missing",
        "TF_LOG": "debug",
    }
    env = terraform.environment(shell, {}, "/data", None)
    assert {name for name in env if name.startswith("TF_")} == {
        "TF_DATA_DIR",
        "TF_IN_AUTOMATION",
        "TF_INPUT",
        "TF_LOG",
    }
    assert env["TF_DATA_DIR"] == "/data"


def test_the_cli_configuration_is_named():
    assert terraform.environment({}, {}, "/data", "/mirror.tfrc")["TF_CLI_CONFIG_FILE"] == "/mirror.tfrc"


def test_the_plugin_cache_is_named():
    env = terraform.environment({}, {"plugin_cache_dir": "/cache"}, "/data", None)
    assert env["TF_PLUGIN_CACHE_DIR"] == "/cache"


def test_unchecked_certificates_are_refused():
    with pytest.raises(UserError, match="aws_ca_bundle"):
        terraform.environment({}, {"validate_certs": False}, "/data", None)


@pytest.mark.parametrize(
    ("state", "check", "expected"),
    [
        ("present", False, ["apply", "-auto-approve", "-json", "-var-file=v"]),
        ("absent", False, ["apply", "-auto-approve", "-json", "-destroy", "-var-file=v"]),
        ("present", True, ["plan", "-lock=false", "-json", "-var-file=v"]),
        ("absent", True, ["plan", "-lock=false", "-json", "-destroy", "-var-file=v"]),
    ],
)
def test_one_command_does_it_all(state, check, expected):
    assert terraform.run_arguments(state, check, "v", []) == expected


def test_targets_are_kept_to():
    assert terraform.run_arguments("present", False, "v", ["a.b", "c.d"])[-2:] == [
        "-target=a.b",
        "-target=c.d",
    ]


def test_a_lock_file_is_not_rewritten():
    assert "-lockfile=readonly" in terraform.init_arguments(None, has_lock_file=True)
    assert "-lockfile=readonly" not in terraform.init_arguments(None, has_lock_file=False)
    assert "-backend-config=b.json" in terraform.init_arguments("b.json", has_lock_file=True)


def test_the_command_that_unlocks_shows_no_credentials():
    env = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "TF_DATA_DIR": "/data",
    }
    assert terraform.unlock_command(env, "/bin/terraform", "/stack") == (
        "AWS_ENDPOINT_URL=http://127.0.0.1:4566 TF_DATA_DIR=/data /bin/terraform -chdir=/stack force-unlock"
    )


LOCK = """
provider "registry.terraform.io/hashicorp/aws" {
  version     = "5.100.0"
  constraints = "~> 5.100"
}

provider "registry.terraform.io/hashicorp/archive" {
  version = "2.7.0"
}
"""
AWS = "registry.terraform.io/hashicorp/aws"


def test_the_lock_file_names_the_providers():
    assert terraform.locked_providers(LOCK) == {
        AWS: "5.100.0",
        "registry.terraform.io/hashicorp/archive": "2.7.0",
    }
    assert terraform.locked_providers("") == {}


@pytest.mark.parametrize(
    ("system", "machine", "named"),
    [
        ("Linux", "x86_64", "linux_amd64"),
        ("Linux", "aarch64", "linux_arm64"),
        ("Darwin", "arm64", "darwin_arm64"),
    ],
)
def test_the_platform_as_terraform_names_it(system, machine, named):
    assert terraform.platform_name(system, machine) == named


def test_a_mirror_is_found_in_a_usual_place(tmp_path):
    for path in ("opt/empty", f"opt/other/{AWS}/5.99.0/linux_amd64", f"opt/there/{AWS}/5.100.0/linux_amd64"):
        (tmp_path / path).mkdir(parents=True)
    places = [str(tmp_path / "missing"), str(tmp_path / "opt" / "*")]
    found = terraform.find_mirror(places, {AWS: "5.100.0"}, "linux_amd64")
    assert found == str(tmp_path / "opt" / "there")
    assert terraform.find_mirror(places, {AWS: "5.100.0"}, "linux_arm64") is None
    assert terraform.find_mirror(places, {AWS: "5.100.0", "a/b/c": "1.0.0"}, "linux_amd64") is None
    assert terraform.find_mirror(places, {}, "linux_amd64") is None


def test_a_mirror_may_hold_packed_providers(tmp_path):
    (tmp_path / AWS).mkdir(parents=True)
    (tmp_path / AWS / "terraform-provider-aws_5.100.0_linux_amd64.zip").touch()
    assert terraform.find_mirror([str(tmp_path)], {AWS: "5.100.0"}, "linux_amd64") == str(tmp_path)


def test_only_the_mirrored_providers_come_from_the_mirror():
    assert terraform.mirror_config("/opt/mirror", [AWS]) == (
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        '    path    = "/opt/mirror"\n'
        f'    include = ["{AWS}"]\n'
        "  }\n"
        "  direct {\n"
        f'    exclude = ["{AWS}"]\n'
        "  }\n"
        "}\n"
    )


VERSIONS = 'terraform {\n  backend "s3" {}\n}\n'


def test_init_is_needed_again_only_when_what_it_reads_has_changed():
    def mark(sources=None, lock="", backend=None, surroundings=""):
        sources = sources or {"versions.tf": VERSIONS, "queue.tf": 'resource "a" "b" {}'}
        return terraform.fingerprint(sources, lock, backend or {}, surroundings)

    assert mark() == mark()
    assert mark() == mark({"versions.tf": VERSIONS, "queue.tf": 'resource "a" "b" { c = "terraform {" }'})
    assert mark() != mark({"versions.tf": VERSIONS + "# newer", "queue.tf": ""})
    assert mark() != mark({"versions.tf": VERSIONS, "net.tf": 'module "net" {\n source = "./net"\n}'})
    assert mark() != mark(lock="5.101.0")
    assert mark() != mark(backend={"bucket": "other"})
    assert mark() != mark(surroundings="another mirror")


def test_the_documentation_tells_the_options_as_they_are():
    documented = {
        name: {key: value for key, value in option.items() if key != "description"}
        for name, option in yaml.safe_load(DOCUMENTATION)["options"].items()
    }
    assert documented == OPTIONS
