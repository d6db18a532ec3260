"""A team's remotes, as docs/artifacts.md sets them up: a shared folder and an S3 server."""

import re

import boto3
import pytest
from moto.server import ThreadedMotoServer
from released import ROOT, Clone

pytestmark = pytest.mark.slow

SECTIONS = {"folder": "A shared folder:", "s3": "S3, or"}


def documented(section: str) -> list[list[str]]:
    """Return the commands of docs/artifacts.md below a line."""
    text = (ROOT / "docs" / "artifacts.md").read_text()
    block = re.search(rf"^{SECTIONS[section]}.*?```sh\n(.*?)```", text, re.S | re.M)[1]
    return [line.partition("#")[0].split() for line in block.splitlines()]


@pytest.fixture
def server(monkeypatch):
    """An S3 server on loopback with an empty bucket."""
    local = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    local.start()
    host, port = local.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "KEY", "aws_secret_access_key": "SECRET"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="bucket")
    yield url, client
    local.stop()


def configure(clone: Clone, section: str, replaced: dict[str, str]) -> None:
    for command in documented(section):
        clone(*(replaced.get(word, word) for word in command))
    clone("dvc", "remote", "modify", "team", "verify", "true")


def team(folder, section, replaced):
    """Return a repository with an artifact pushed to a team's remote, and a clone set up alike."""
    author = Clone(folder / "author")
    author.folder.mkdir()
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        author(*command)
    artifact = author.folder / "artifacts"
    artifact.mkdir()
    for number in range(3):
        (artifact / f"{number}.bin").write_bytes(bytes([number]) * 1000)
    author("dvc", "add", "--quiet", "artifacts")
    configure(author, section, replaced)
    author("dvc", "push")
    author.commit("Artifacts")
    other = author.clone(folder / "other")
    for command in documented(section):
        if "--local" in command:
            other(*command)
    return author, other


def contents(clone):
    return {path.name: path.read_bytes() for path in (clone.folder / "artifacts").iterdir()}


def test_s3_carries_artifacts_and_refuses_altered_ones(server, tmp_path):
    url, client = server
    author, other = team(tmp_path, "s3", {"https://s3.example.org": url})
    assert "KEY" not in (author.folder / ".dvc" / "config").read_text()
    other("dvc", "pull")
    assert contents(other) == contents(author)
    assert "in sync" in other("dvc", "status", "--cloud")
    stored = client.list_objects_v2(Bucket="bucket")["Contents"]
    assert len(stored) == 4
    assert {entry["Key"].split("/")[0] for entry in stored} == {"nfe-bench"}
    altered = next(entry["Key"] for entry in stored if entry["Size"] == 1000)
    client.put_object(Bucket="bucket", Key=altered, Body=b"x" * 1000)
    third = author.clone(tmp_path / "third")
    for command in documented("s3"):
        if "--local" in command:
            third(*command)
    assert "artifacts" in third("dvc", "pull", fails=True)
    # DVC takes a listed folder's files for granted: the list goes with the altered file.
    folder = next(entry["Key"] for entry in stored if entry["Key"].endswith(".dir"))
    for key in (altered, folder):
        client.delete_object(Bucket="bucket", Key=key)
    author("dvc", "push")
    third("dvc", "pull")
    assert contents(third) == contents(author)


def test_a_shared_folder_carries_artifacts(tmp_path):
    shared = tmp_path / "shared"
    author, other = team(tmp_path, "folder", {"/mnt/shared/nfe-bench": str(shared)})
    other("dvc", "pull")
    assert contents(other) == contents(author)
    assert sum(path.is_file() for path in shared.rglob("*")) == 4
    assert "in sync" in other("dvc", "status", "--cloud")
